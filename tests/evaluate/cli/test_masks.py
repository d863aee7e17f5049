"""The command `masks`: masks that `engine generate --mask` takes, what is kept, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.evaluate.studies.drawn_cells import BLANK, blood_cell


@pytest.fixture
def cells(tmp_path):
    """Three pictures of one cell each, 64 pixels wide."""
    folder = tmp_path / "cells"
    folder.mkdir()
    for number in range(3):
        pixels = blood_cell(64, (0.14, 0.1 + 0.02 * number))
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_the_engine_repaints_what_the_masks_show(cells, tiny_bundle, in_process, tmp_path):
    out = tmp_path / "masks"
    done = in_process("evaluate", "masks", cells, "--region", "nucleus", "--grow", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "3 masks of 3 pictures, 3 of them new, region nucleus" in done.stdout
    masks = [Image.open(out / f"{number}.png") for number in range(3)]
    assert {(mask.mode, mask.size) for mask in masks} == {("L", (64, 64))}
    assert {int(value) for mask in masks for value in np.unique(np.asarray(mask))} == {0, 255}
    options = ("--class", "cyt_mast", "--n", 3, "--steps", 2, "--bundle", tiny_bundle, "--out", tmp_path / "run")
    size = ("--width", 64, "--height", 64)
    done = in_process("engine", "generate", *options, *size, "--init", cells, "--mask", out)
    assert done.returncode == 0, done.stderr
    for number, mask in enumerate(masks):
        kept = np.asarray(mask) == 0
        before, after = (
            np.asarray(Image.open(path))
            for path in (cells / f"{number}.png", tmp_path / f"run/cyt_mast/{number:06d}.png")
        )
        np.testing.assert_array_equal(after[kept], before[kept])
        assert (after[~kept] != before[~kept]).any()


def test_masks_that_exist_are_kept_unless_they_are_overwritten(cells, in_process, tmp_path):
    out = tmp_path / "masks"
    command = ("evaluate", "masks", cells, "--out", out, "--region")
    assert in_process(*command, "cell").returncode == 0
    drawn = (out / "1.png").read_bytes()
    (out / "0.png").unlink()
    Image.new("L", (64, 64), 255).save(out / "1.png")
    done = in_process(*command, "cell")
    assert "3 masks of 3 pictures, 1 of them new" in done.stdout
    assert (out / "1.png").read_bytes() != drawn
    done = in_process(*command, "nucleus")
    assert done.returncode == 2
    assert "masks of other pictures or of other settings" in done.stderr
    assert "add --overwrite" in done.stderr
    assert json.loads((out / "masks.json").read_text())["region"] == "cell"
    assert in_process(*command, "cell", "--overwrite").returncode == 0
    assert (out / "1.png").read_bytes() == drawn


def test_a_picture_without_a_nucleus_is_named_and_the_others_have_masks(cells, in_process, tmp_path):
    Image.fromarray(BLANK["red cells alone"]).save(cells / "empty.png")
    out = tmp_path / "masks"
    command = ("evaluate", "masks", cells, "--region", "background", "--out", out)
    done = in_process(*command)
    assert done.returncode == 1
    assert "1 of the 4 pictures" in done.stderr
    assert "no nucleus: empty.png" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png", "masks.json"]
    Image.new("L", (64, 64), 255).save(out / "empty.png")
    assert in_process(*command).returncode == 0


def strange_folder(cells, out):
    out.mkdir()
    (out / "notes.md").write_text("mine")


def same_name(cells, out):
    Image.open(cells / "0.png").convert("RGB").save(cells / "0.bmp")


def grey(cells, out):
    Image.open(cells / "0.png").convert("L").save(cells / "0.png")


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (strange_folder, (), "files of something else, such as notes.md"),
        (same_name, (), "the same name as 0.bmp"),
        (grey, (), "0.png: L pixels"),
        (None, ("--region", "mitochondrion"), "one of nucleus, cytoplasm, cell, background"),
        (None, ("--grow", -1), "--grow"),
    ],
)
def test_wrong_requests_exit_2_and_write_nothing(change, options, words, cells, in_process, tmp_path):
    out = tmp_path / "masks"
    if change is not None:
        change(cells, out)
    before = sorted(out.iterdir()) if out.exists() else None
    done = in_process("evaluate", "masks", cells, "--region", "cell", "--out", out, *options)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert (sorted(out.iterdir()) if out.exists() else None) == before
