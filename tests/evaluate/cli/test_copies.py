"""The command `copies`: its list of copies, which the engine leaves out, and its warnings."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from engine import SyntheticCells
from trainer.pictures.phantom import draw


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_derived_picture_is_compared_with_its_own_initial_picture(varied, in_process, tmp_path):
    """At strength 0 a picture is its initial picture. These are no training pictures, so only --sources finds them."""
    options = ("--class", "cyt_mast", "--n", 7, "--bundle", varied / "bundle", "--out", tmp_path / "run")
    done = in_process("engine", "generate", *options, "--init", varied / "heldout", "--strength", 0)
    assert done.returncode == 0, done.stderr
    fake, train, held_out = tmp_path / "run" / "cyt_mast", varied / "real" / "cyt_mast", tmp_path / "other"
    held_out.mkdir()
    for seed in range(8):
        Image.fromarray(draw("cyt_kist_mast", seed, 32)[0]).save(held_out / f"{seed}.png")
    arguments = (fake, "--train", train, "--held-out", held_out)
    done = in_process("evaluate", "copies", *arguments)
    assert done.returncode == 2
    assert "The initial pictures of 7 of 7 pictures" in done.stderr
    assert "000000.png: no 0000.png with SHA-256" in done.stderr
    assert "add --sources" in done.stderr
    done = in_process(
        "evaluate", "copies", *arguments, "--sources", varied / "heldout" / "cyt_mast", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "Copies: 7 of 7 pictures" in done.stdout
    assert "Closer to their own initial picture than the threshold: 7 of 7 derived pictures, 100.0%" in done.stdout
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["results"]["own"]["closer"] == 7
    pair = next(one for one in record["results"]["own"]["pairs"] if one["synthetic"] == "000006.png")
    assert pair["initial"] == "0000.png"
    assert pair["distance"] == pytest.approx(0, abs=1e-3)
    assert record["results"]["rate"] == 1
    assert record["inputs"]["--sources"]["pictures"] == 6
    assert record["inputs"]["FAKE"]["made_by"]["strength"] == 0
    assert len((tmp_path / "out" / "exclude.jsonl").read_text().splitlines()) == 7
    assert [image["file"] for image in record["images"]] == ["pairs.png", "distances.png", "own_pairs.png"]
    report = in_process("evaluate", "report", tmp_path / "out", "--out", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr
    assert "The closest to their own initial picture" in (tmp_path / "report.html").read_text()


def test_the_initial_pictures_of_variations_may_be_training_pictures(varied, in_process, tmp_path):
    arguments = (varied / "variations/0.7/cyt_mast", "--train", varied / "real/cyt_mast")
    done = in_process("evaluate", "copies", *arguments, "--held-out", varied / "heldout/cyt_mast", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    nearest = dict(zip([f"{number:06d}.png" for number in range(12)], results["distances"]["synthetic"], strict=True))
    for pair in results["own"]["pairs"]:
        assert pair["initial"] == f"{int(pair['synthetic'][:6]) % 6:04d}.png"
        assert pair["distance"] >= nearest[pair["synthetic"]] - 1e-3


def test_a_folder_without_derived_pictures_has_the_record_of_before(planted_copies, in_process):
    folders = ("--train", planted_copies / "train", "--held-out", planted_copies / "heldout")
    done = in_process("evaluate", "copies", planted_copies / "synthetic", *folders, "--json")
    record = json.loads(done.stdout)
    assert set(record["results"]) == {
        *("threshold", "rate", "rate_low", "rate_high", "held_out_rate", "copies", "closest", "distances"),
    }
    assert set(record["definitions"]) == {"distance", "threshold", "copy", "copy rate"}
    assert "initial picture" not in json.dumps(record["definitions"])
