"""Folders of pictures: what `prepare` reads, and what it refuses before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


def broken_picture(folder):
    whole = (folder / "cyt_mast/picture0.png").read_bytes()
    (folder / "cyt_mast/picture0.png").write_bytes(whole[: len(whole) // 2])


def foreign_file(folder):
    (folder / "cyt_mast/picture1.png").write_text("no picture")


def no_picture(folder):
    for path in folder.glob("*/*"):
        path.unlink()


@pytest.mark.parametrize("damage", [broken_picture, foreign_file, no_picture])
def test_unreadable_folders_exit_2_and_write_nothing(damage, in_process, photographs, tmp_path):
    damage(photographs)
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--size", 32)
    assert done.returncode == 2, done.stderr
    for word in ("found:", "expected:", "fix:", str(photographs)):
        assert word in done.stderr
    assert not (tmp_path / "out").exists()


def empty_class(folder):
    (folder / "cyt_empty").mkdir()


def loose_picture(folder):
    (folder / "cyt_mast/picture0.png").rename(folder / "picture0.png")


def strange_name(folder):
    (folder / "cyt_mast").rename(folder / "my cells")


def deep_greyscale(folder):
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(folder / "cyt_mast/deep.png")


@pytest.mark.parametrize("damage", [empty_class, loose_picture, strange_name, deep_greyscale])
def test_folders_whose_pictures_would_be_dropped_or_distorted_are_refused(damage, in_process, photographs, tmp_path):
    damage(photographs)
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--size", 32)
    assert done.returncode == 2, done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "out").exists()
