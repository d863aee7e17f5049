"""expect_real: no synthetic picture passes as a real one, whatever the form of the test set."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, default_collate

from engine import SyntheticCells, expect_real
from engine.errors import CytosynthError


class ImageFolder(Dataset):
    """The relevant part of torchvision's ImageFolder: `samples` with paths, and tensors without marks."""

    def __init__(self, root):
        self.samples = [(str(path), 0) for path in sorted(root.rglob("*.png"))]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        with Image.open(self.samples[index][0]) as picture:
            return torch.from_numpy(np.array(picture)), self.samples[index][1]


class PictureFolder(ImageFolder):
    """Undecoded PIL pictures, whose paths are not known."""

    def __init__(self, root):
        self.paths = sorted(root.rglob("*.png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return Image.open(self.paths[index]).convert("RGB").resize((8, 8)), 0


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Three real pictures in two folders."""
    root = tmp_path_factory.mktemp("guard") / "real"
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(root / name)
    return root


@pytest.fixture(scope="module")
def made(in_process, tiny_bundle, tmp_path_factory):
    """The same synthetic pictures as folders and as shards."""
    root = tmp_path_factory.mktemp("guard")
    for out, extra in (("folders", []), ("shards", ["--format", "webdataset"])):
        words = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--steps", 1, "--out", root / out]
        done = in_process("engine", "generate", *words, *extra)
        assert done.returncode == 0, done.stderr
    return root


def cells(tiny_bundle):
    return SyntheticCells("cyt_mast", n=2, num_inference_steps=1, bundle=str(tiny_bundle))


SPLITS = {
    "a folder": lambda real, made, cells: made / "folders",
    "a folder's name": lambda real, made, cells: str(made / "folders"),
    "a file": lambda real, made, cells: made / "folders/cyt_mast/000000.png",
    "a folder of shards": lambda real, made, cells: made / "shards",
    "some files": lambda real, made, cells: [*map(str, real.rglob("*.png")), *map(str, made.rglob("*.tar"))],
    "torchvision's folder": lambda real, made, cells: ImageFolder(made / "folders"),
    "pictures that were converted": lambda real, made, cells: PictureFolder(made / "folders"),
    "a part of a mixture": lambda real, made, cells: Subset(
        ConcatDataset([ImageFolder(real), ImageFolder(made / "folders")]), [0, 2, 4]
    ),
    "a loader": lambda real, made, cells: DataLoader(ConcatDataset([ImageFolder(real), ImageFolder(made / "folders")])),
    "cells on the fly": lambda real, made, cells: cells,
    "a part of cells in a mixture": lambda real, made, cells: Subset(ConcatDataset([ImageFolder(real), cells]), [4]),
    "a sample of such": lambda real, made, cells: [cells[0]],
    "rows of a table": lambda real, made, cells: [{"pixels": np.zeros(3), "synthetic": np.True_}],
}


@pytest.mark.parametrize("split", SPLITS)
def test_a_synthetic_picture_is_named(split, real, made, tiny_bundle):
    source = SPLITS[split](real, made, cells(tiny_bundle))
    with pytest.raises(CytosynthError, match="a synthetic picture") as caught:
        expect_real(source)
    named = {"torchvision": "000000.png", "a part of a": "000001.png", "a folder of": "cyt_mast_000000", "rows": "0 of"}
    word = next((word for start, word in named.items() if split.startswith(start)), "")
    assert word in caught.value.subject


def test_files_of_the_operating_system_are_no_pictures(real, tmp_path):
    folder = shutil.copytree(real, tmp_path / "copied")
    for name in ("a/._0.png", "Thumbs.db", "__MACOSX/0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\26\7")
    assert expect_real(folder) == folder
    png = (real / "a/0.png").read_bytes()
    assert expect_real(tar_of(tmp_path / "x.tar", {"0.png": png, "./._0.png": b"\0\5\26\7"}))


def test_real_ones_pass_and_come_back(real, made, tiny_bundle, tmp_path):
    png = (real / "a/0.png").read_bytes()
    jpeg = io.BytesIO()
    Image.open(real / "a/0.png").save(jpeg, format="JPEG")
    shard = tar_of(tmp_path / "x.tar", {"0.png": png, "0.cls": b"0", "1.jpg": jpeg.getvalue(), "1.json": b'{"a": 1}'})
    mixture = ConcatDataset([ImageFolder(real), ImageFolder(made / "folders"), cells(tiny_bundle)])
    for source in (
        real,
        str(real),
        shard,
        [shard, real],
        ImageFolder(real),
        PictureFolder(real),
        DataLoader(ImageFolder(real)),
        Subset(mixture, [0, 1, 2]),
        [{"png": png, "__key__": "0"}, {"jpg": jpeg.getvalue(), "synthetic": False}],
    ):
        assert expect_real(source) is source


WEBDATASET = """
import sys, webdataset
from engine import expect_real
from engine.errors import CytosynthError
for stages in ([], ["rgb8"], ["pil"]):
    for names in ([], ["png", "cls", "json"]):
        shards = webdataset.WebDataset(sys.argv[1:], shardshuffle=False)
        for stage in stages:
            shards = shards.decode(stage)
        if names and stages:
            shards = shards.to_tuple(*names)
        try:
            expect_real(shards)
        except CytosynthError as error:
            print(error.subject, error.found)
"""


def test_webdatasets_samples_are_known_however_they_are_decoded(made):
    # In a process of its own: the reader leaves files open.
    reader = [sys.executable, "-c", WEBDATASET, *map(str, made.glob("shards/*.tar"))]
    done = subprocess.run(reader, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The picture 0 of WebDataset a synthetic picture\n" * 6


def test_the_json_of_a_shard_is_enough(tmp_path):
    """Pictures that were saved again have lost their text."""
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, format="JPEG")
    said = json.dumps({"synthetic": True}).encode()
    shard = tar_of(tmp_path / "x.tar", {"0.jpg": jpeg.getvalue(), "0.json": said})
    with pytest.raises(CytosynthError, match=r"x\.tar/0\.json"):
        expect_real(shard)


def unmarked(folder):
    """A synthetic picture that was saved again and has lost its text."""
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "x.jpg")
    return folder / "x.jpg"


@pytest.mark.parametrize("given", ["the folder", "the file", "torchvision's folder"])
def test_a_json_beside_a_picture_is_enough(given, tmp_path):
    picture = unmarked(tmp_path / "test/cyt_mast")
    folder = ImageFolder(tmp_path)
    folder.samples = [(str(picture), 0)]
    source = {"the folder": tmp_path, "the file": picture, "torchvision's folder": folder}[given]
    picture.with_suffix(".json").write_text('{"synthetic": false}')
    assert expect_real(source) is source
    picture.with_suffix(".json").write_text('{"synthetic": true}')
    with pytest.raises(CytosynthError, match=r"x\.jpg"):
        expect_real(source)


@pytest.mark.parametrize(("place", "name"), [("test", "cyt_mast/x.jpg"), ("test/cyt_mast", "x.jpg")])
def test_a_folders_metadata_is_enough(place, name, tmp_path):
    """The layout that `engine generate` writes and Hugging Face's imagefolder reads."""
    unmarked(tmp_path / "test/cyt_mast")
    lines = [{"file_name": "gone.jpg", "synthetic": True}, {"file_name": name, "synthetic": False}]
    metadata = tmp_path / place / "metadata.jsonl"
    metadata.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert expect_real(tmp_path) is tmp_path
    metadata.write_text(json.dumps({"file_name": name, "synthetic": True}) + "\n")
    with pytest.raises(CytosynthError, match=r"x\.jpg"):
        expect_real(tmp_path)
    metadata.write_text("{")
    with pytest.raises(CytosynthError, match="unreadable"):
        expect_real(tmp_path)


def test_a_linked_folder_is_read_and_a_link_back_ends(real, made, tmp_path):
    """torchvision's ImageFolder follows links."""
    (tmp_path / "test").mkdir()
    (tmp_path / "test/a").symlink_to(real / "a")
    (tmp_path / "test/back").symlink_to(tmp_path)
    assert expect_real(tmp_path / "test") == tmp_path / "test"
    (tmp_path / "test/b").symlink_to(made / "folders/cyt_mast")
    with pytest.raises(CytosynthError, match=r"test/b/000000\.png"):
        expect_real(tmp_path / "test")


def test_a_text_behind_the_pixels_counts(tmp_path):
    info = PngInfo()
    info.add(b"tEXt", b"cytosynth\0{}", after_idat=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(CytosynthError, match=r"x\.png"):
        expect_real(tmp_path)


def broken_png():
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, format="PNG")
    return file.getvalue()[:60]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({}, "no picture"),
        ({"notes.txt": b"none"}, "no picture"),
        ({"x.png": broken_png()}, "unreadable"),
        ({"x.png": b"none"}, "unreadable"),
        ({"x.tar": b"none"}, "unreadable"),
    ],
)
def test_a_folder_that_says_nothing_does_not_pass(content, word, tmp_path):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CytosynthError, match=word):
        expect_real(tmp_path)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("no/such/folder", "unreadable"),
        ([], "no picture"),
        (iter([1]), "an iterator"),
        ([(np.zeros((8, 8, 3)), 1)], "nothing that tells"),
        ([{"json": b"{"}], "unreadable"),
        ([{"json": b"[" * 100_000}], "unreadable"),
    ],
)
def test_what_cannot_tell_does_not_pass(source, word):
    with pytest.raises(CytosynthError, match=word):
        expect_real(source)


def test_a_sample_on_the_fly_and_a_batch_of_such_carry_the_flag(tiny_bundle):
    data = cells(tiny_bundle)
    picture, label = data[0]
    assert (picture.shape, label) == ((32, 32, 3), 0)
    assert data[0].synthetic is True
    batch = default_collate([data[0], data[1]])
    assert batch.synthetic is True
    assert batch.picture.shape == (2, 32, 32, 3)
    assert pickle.loads(pickle.dumps(data[0])).synthetic is True  # noqa: S301
