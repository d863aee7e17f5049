"""`copies`: planted copies are found under turns, blur and stain, strangers are not, and the list serves the engine."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from engine import SyntheticCells
from evaluate.images import open_folder
from evaluate.studies.copies import find_copies
from trainer.pictures.phantom import draw


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """train (20) and heldout (30) phantoms; synthetic: 8 strangers, then changed copies of the first training ones."""
    root = tmp_path_factory.mktemp("copies")
    for name, seeds in (("train", range(20)), ("heldout", range(500, 530)), ("synthetic", range(900, 908))):
        (root / name).mkdir()
        for seed in seeds:
            Image.fromarray(draw("cyt_mast", seed, 64)[0]).save(root / name / f"{seed:04d}.png")
    for place, change in enumerate(CHANGES.values()):
        picture = Image.open(root / "train" / f"{place:04d}.png")
        change(picture).save(root / "synthetic" / f"copy{place}.png")
    return root


CHANGES = {
    "same": lambda picture: picture,
    "mirrored": lambda picture: picture.transpose(Image.Transpose.TRANSPOSE),
    "turned": lambda picture: picture.rotate(45, Image.Resampling.BICUBIC, fillcolor=(225, 215, 225)),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "stained": lambda picture: Image.fromarray((255 * (np.asarray(picture) / 255) ** 1.2).astype(np.uint8)),
}


@pytest.fixture(scope="module")
def found(folders):
    return find_copies(*(open_folder(folders / name) for name in ("synthetic", "train", "heldout")))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_with_its_original(change, folders, found):
    names = [path.name for path in open_folder(folders / "synthetic").files]
    place = list(CHANGES).index(change)
    index = names.index(f"copy{place}.png")
    assert index in found.copies
    assert found.synthetic.indices[index] == place


def test_strangers_are_none(folders, found):
    assert sorted(found.copies) == list(range(8, 8 + len(CHANGES)))
    assert found.rate == pytest.approx(len(CHANGES) / 13)
    assert found.rate_low < found.rate < found.rate_high
    assert found.held_out_rate <= 1 / 30
    assert found.synthetic.distances[8] == pytest.approx(0, abs=1e-3)


def test_the_threshold_is_the_first_percentile_of_the_held_out(found):
    assert found.threshold == pytest.approx(np.percentile(found.held_out.distances, 1))


def test_the_command_lists_copies_as_files(folders, in_process, tmp_path):
    arguments = ("--train", folders / "train", "--held-out", folders / "heldout", "--out", tmp_path / "out")
    done = in_process("evaluate", "copies", folders / "synthetic", *arguments)
    assert done.returncode == 0, done.stderr
    assert "Copies: 5 of 13 pictures" in done.stdout
    assert "below 100" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "exclude.jsonl").read_text().splitlines()]
    assert sorted(row["file_name"] for row in rows) == [f"copy{place}.png" for place in range(5)]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["images"][0] == {
        "file": "pairs.png",
        "caption": "The 12 closest pairs: synthetic left, its nearest training picture right",
        "real": True,
    }


def test_the_engine_leaves_listed_copies_out(tiny_bundle, command, in_process, tmp_path):
    """A run whose third picture stands among the training pictures."""
    run = tmp_path / "run"
    options = ("--class", "cyt_mast", "--n", 6, "--seed", 5, "--steps", 2, "--bundle", tiny_bundle, "--out", run)
    assert command("engine", "generate", *options).returncode == 0
    for name in ("train", "heldout"):
        (tmp_path / name).mkdir()
        for seed in range(12):
            Image.fromarray(draw("cyt_mast", seed + 40 * len(name), 32)[0]).save(tmp_path / name / f"{seed}.png")
    Image.open(run / "cyt_mast" / "000002.png").convert("RGB").save(tmp_path / "train" / "copy.bmp")
    arguments = ("--train", tmp_path / "train", "--held-out", tmp_path / "heldout", "--out", tmp_path / "out")
    done = in_process("evaluate", "copies", run / "cyt_mast", *arguments)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "exclude.jsonl").read_text().splitlines()]
    assert 7 in [row["seed"] for row in rows]
    data = SyntheticCells(
        "cyt_mast",
        6,
        seed=5,
        bundle=str(tiny_bundle),
        num_inference_steps=2,
        exclude=tmp_path / "out" / "exclude.jsonl",
    )
    assert len(data) == 6 - len(rows)
    copy = np.asarray(Image.open(run / "cyt_mast" / "000002.png"))
    assert not any(np.array_equal(data[i][0], copy) for i in range(len(data)))


def test_a_held_out_picture_that_was_trained_on_is_named(folders, in_process, tmp_path):
    held_out = shutil.copytree(folders / "heldout", tmp_path / "heldout")
    shutil.copy(folders / "train" / "0007.png", held_out / "leak.png")
    arguments = ("--train", folders / "train", "--held-out", held_out)
    done = in_process("evaluate", "copies", folders / "synthetic", *arguments)
    assert done.returncode == 2
    assert "leak.png" in done.stderr
    Image.open(held_out / "leak.png").transpose(Image.Transpose.ROTATE_90).save(held_out / "leak.png")
    done = in_process("evaluate", "copies", folders / "synthetic", *arguments)
    assert done.returncode == 0
    assert "Held-out pictures that were trained on, which makes the threshold too small: leak.png." in done.stderr


def test_one_held_out_picture_is_no_measure(folders, in_process, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(folders / "heldout" / "0500.png", tmp_path / "one")
    done = in_process(
        "evaluate", "copies", folders / "synthetic", "--train", folders / "train", "--held-out", tmp_path / "one"
    )
    assert done.returncode == 2
    assert "at least 2" in done.stderr
