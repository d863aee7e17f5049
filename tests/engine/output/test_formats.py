"""WebDataset shards, and pixels that survive their PNG file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.output.formats import WebDataset, encode_png, make_output, shard_counts


def run(in_process, bundle, out, *extra):
    arguments = ["--bundle", bundle, "--class", "all", "--n", 7, "--seed", 5, "--steps", 3, "--out", out]
    done = in_process("engine", "generate", *arguments, *extra, "--json")
    assert done.returncode == 0, done.stderr
    return done


def samples(folder):
    """Every picture of the shards: (key, pixels, class number, description)."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            for png, number, text in zip(*(members[i::3] for i in range(3)), strict=True):
                assert (png.name.removesuffix(".png") + ".cls", png.name.removesuffix(".png") + ".json") == (
                    number.name,
                    text.name,
                )
                with Image.open(tar.extractfile(png)) as picture:
                    pixels = np.asarray(picture)
                description = json.load(tar.extractfile(text))
                found.append((png.name[:-4], pixels, int(tar.extractfile(number).read()), description))
    return found


def test_shards_hold_the_pictures_of_the_folders(in_process, tiny_bundle, tmp_path):
    run(in_process, tiny_bundle, tmp_path / "folders")
    run(in_process, tiny_bundle, tmp_path / "shards", "--format", "webdataset", "--shard-pictures", 5)
    assert [path.name for path in sorted((tmp_path / "shards").glob("*.tar"))] == [
        f"bundle-00000{i}.tar" for i in range(3)
    ]
    found = samples(tmp_path / "shards")
    assert len(found) == 14
    for key, pixels, number, description in found:
        name, index = key.rsplit("_", 1)
        assert number == ["cyt_mast", "cyt_nep_mast"].index(name)
        assert (description["class"], description["seed"]) == (name, 5 + int(index))
        with Image.open(tmp_path / f"folders/{name}/{index}.png") as picture:
            np.testing.assert_array_equal(pixels, np.asarray(picture))
    info = json.loads((tmp_path / "shards/_info.json").read_text())["splits"]["train"]
    assert info["shard_lengths"] == [5, 5, 4]
    assert info["num_samples"] == 14
    assert (tmp_path / "shards/sheet.png").read_bytes() == (tmp_path / "folders/sheet.png").read_bytes()


WEBDATASET_READER = """
import hashlib, sys, webdataset
shards = webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode("rgb8")
for pixels, number, description in shards.to_tuple("png", "cls", "json"):
    print(hashlib.sha256(pixels.tobytes()).hexdigest(), pixels.shape, number, description)
"""


def test_webdatasets_own_reader_takes_the_shards(in_process, tiny_bundle, tmp_path):
    run(in_process, tiny_bundle, tmp_path, "--format", "webdataset", "--shard-pictures", 5)
    # In a process of its own: the reader leaves files open.
    reader = [sys.executable, "-c", WEBDATASET_READER, *sorted(tmp_path.glob("*.tar"))]
    done = subprocess.run(reader, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    wanted = [
        f"{hashlib.sha256(pixels.tobytes()).hexdigest()} {pixels.shape} {number} {description}"
        for _, pixels, number, description in samples(tmp_path)
    ]
    assert len(wanted) == 14
    assert done.stdout.splitlines() == wanted


def make_shards(folder, done, stop):
    """Write pictures done..stop of a run of 11, in shards of 4; returns whether the run is complete."""
    metadata = folder / "metadata.jsonl"
    rows = metadata.read_text().splitlines() if metadata.exists() else []
    metadata.write_text("".join(row + "\n" for row in rows[:done]))
    with WebDataset(folder, "x", per_shard=4, done=done, written=shard_counts(metadata)) as writer:
        for i in range(done, stop):
            name = writer.write(i, i, 0, bytes([i]) * (600 * i + 1), {"class": "c", "seed": i})
            writer.flush()
            with metadata.open("a") as file:
                file.write(json.dumps({"file_name": name}) + "\n")
        if stop == 11:
            writer.finish()


@pytest.mark.parametrize(
    ("stop", "known"), [(2, 2), (3, 2), (6, 3), (6, 4), (6, 6), (8, 8), (9, 4), (9, 8), (11, 10), (11, 11)]
)
def test_a_shard_that_was_cut_off_ends_as_a_whole_one(stop, known, tmp_path):
    """A killed run wrote `stop` pictures, and metadata.jsonl lists `known` of them."""
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    make_shards(tmp_path / "whole", 0, 11)
    make_shards(tmp_path / "cut", 0, stop)
    make_shards(tmp_path / "cut", known, 11)
    whole, cut = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())} for name in ("whole", "cut")
    )
    assert whole == cut


@pytest.mark.parametrize("arguments", [("zip", None), ("imagefolder", 5), ("webdataset", 0)])
def test_wrong_formats_are_refused(arguments, tmp_path):
    file_format, shard_pictures = arguments
    with pytest.raises(RequestError, match="--format"):
        make_output(tmp_path, file_format, 128, 128, shard_pictures, overwrite=False)


def test_a_picture_survives_its_png():
    pixels = np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8)
    description = {
        "class": "c",
        "prompt": "p",
        "negative_prompt": "",
        "steps": 1,
        "sampler": "ddim",
        "schedule": "leading",
        "guidance_scale": 1.5,
        "seed": 3,
        "width": 7,
        "height": 9,
        "bundle": "b, c: d",
        "bundle_sha256": "f" * 64,
        "rng": "numpy",
    }
    import io

    with Image.open(io.BytesIO(encode_png(pixels, description))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
        assert 'Model: "b, c: d c"' in picture.text["parameters"]
        assert json.loads(picture.text["cytosynth"]) == description
