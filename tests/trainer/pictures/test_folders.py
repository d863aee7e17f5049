"""Folders of pictures: what `prepare` reads, and what it refuses before anything is written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from trainer.pictures.folders import centre_square, expect_one_class, find_pictures


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


def unknown_ending(folder):
    (folder / "cyt_mast/other.gif").write_bytes(b"GIF89a")


def unknown_ending_beside_the_classes(folder):
    (folder / "slide.czi").write_bytes(b"ZISRAWFILE")


def deeper_folder(folder):
    (folder / "cyt_mast/day2").mkdir()
    (folder / "cyt_mast/picture0.png").rename(folder / "cyt_mast/day2/picture0.png")


def names_that_differ_in_case(folder):
    (folder / "Cyt_Mast").mkdir()
    (folder / "cyt_mast/picture0.png").rename(folder / "Cyt_Mast/picture0.png")


@pytest.mark.parametrize(
    "damage",
    [
        empty_class,
        loose_picture,
        strange_name,
        deep_greyscale,
        unknown_ending,
        unknown_ending_beside_the_classes,
        deeper_folder,
        names_that_differ_in_case,
    ],
)
def test_folders_whose_pictures_would_be_dropped_or_distorted_are_refused(damage, in_process, photographs, tmp_path):
    damage(photographs)
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--size", 32)
    assert done.returncode == 2, done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_hidden_and_system_files_are_left_out(photographs):
    before = find_pictures(photographs)
    for name in ("._picture0.png", ".hidden.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (photographs / "cyt_mast" / name).write_bytes(b"\0\5\26\7")
        (photographs / name).write_bytes(b"\0\5\26\7")
    (photographs / "__MACOSX").mkdir()
    assert find_pictures(photographs) == before


def test_the_folder_above_a_class_is_refused_with_the_name_of_the_class(photographs):
    expect_one_class(photographs / "cyt_mast")
    with pytest.raises(RequestError, match=r"folders of cyt_mast, cyt_nep_mast") as caught:
        expect_one_class(photographs)
    assert str(photographs / "cyt_mast") in caught.value.fix
    shutil.rmtree(photographs / "cyt_nep_mast")
    with pytest.raises(RequestError, match=r"folder of cyt_mast"):
        expect_one_class(photographs)


def test_the_colours_under_transparent_pixels_stay():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    pixels[..., 3] = 0
    found = centre_square(Image.fromarray(pixels), 16)
    np.testing.assert_array_equal(found[..., :3], centre_square(Image.fromarray(pixels[..., :3]), 16))
    assert found[..., 3].max() == 0


def test_the_name_of_a_folder_of_pictures_is_free_where_a_command_may_name_the_class(photographs, in_process, tmp_path):
    """`fit "my cells" --class mycells` reads the folder; `prepare` would write a folder of that name, and refuses."""
    mine = (photographs / "cyt_mast").rename(tmp_path / "my cells")
    assert list(find_pictures(mine)) == ["my cells"]
    done = in_process("trainer", "prepare", mine, tmp_path / "out", "--size", 32)
    assert done.returncode == 2
    assert "rename the folder" in done.stderr
