"""The command `copies`: its list of copies, which the engine leaves out, and its warnings."""

from __future__ import annotations

import json
import shutil

import numpy as np
from PIL import Image

from engine import SyntheticCells
from trainer.pictures.phantom import draw


def test_the_command_lists_copies_as_files(planted_copies, in_process, tmp_path):
    folders = ("--train", planted_copies / "train", "--held-out", planted_copies / "heldout")
    done = in_process("evaluate", "copies", planted_copies / "synthetic", *folders, "--out", tmp_path / "out")
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


def test_the_engine_leaves_listed_copies_out(tiny_bundle, in_process, tmp_path):
    """The third picture of the run is one of the training pictures."""
    run = tmp_path / "run"
    options = ("--class", "cyt_mast", "--n", 6, "--seed", 5, "--steps", 2, "--bundle", tiny_bundle, "--out", run)
    assert in_process("engine", "generate", *options).returncode == 0
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


def test_a_held_out_picture_that_was_trained_on_is_named(planted_copies, in_process, tmp_path):
    held_out = shutil.copytree(planted_copies / "heldout", tmp_path / "heldout")
    shutil.copy(planted_copies / "train" / "0007.png", held_out / "leak.png")
    arguments = ("--train", planted_copies / "train", "--held-out", held_out)
    done = in_process("evaluate", "copies", planted_copies / "synthetic", *arguments)
    assert done.returncode == 2
    assert "leak.png" in done.stderr
    Image.open(held_out / "leak.png").transpose(Image.Transpose.ROTATE_90).save(held_out / "leak.png")
    done = in_process("evaluate", "copies", planted_copies / "synthetic", *arguments)
    assert done.returncode == 0
    assert "Held-out pictures that were trained on, which makes the threshold too small: leak.png." in done.stderr


def test_one_held_out_picture_is_refused(planted_copies, in_process, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copy(planted_copies / "heldout" / "0500.png", tmp_path / "one")
    done = in_process(
        "evaluate",
        "copies",
        planted_copies / "synthetic",
        "--train",
        planted_copies / "train",
        "--held-out",
        tmp_path / "one",
    )
    assert done.returncode == 2
    assert "at least 2" in done.stderr
