"""`prepare`: squares of one size, augmented to a number, with a record of their sources."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from trainer.pictures.phantom import draw
from trainer.pictures.prepare import count_sources


def test_counts_sizes_and_sources(in_process, photographs, tmp_path):
    out = tmp_path / "out"
    done = in_process("trainer", "prepare", photographs, out, "--size", 32, "--n", 8)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "sources.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    assert {row["file_name"] for row in rows} == {str(path.relative_to(out)) for path in out.glob("*/*.png")}
    assert {row["source"] for row in rows if row["class"] == "cyt_mast"} == {f"picture{i}.png" for i in range(3)}
    for row in rows:
        with Image.open(out / row["file_name"]) as picture:
            assert picture.size == (32, 32)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(in_process, photographs, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = [photographs / "cyt_mast", tmp_path / name, "--size", 32, "--n", 7, "--seed", seed]
        assert in_process("trainer", "prepare", *arguments).returncode == 0
    contents = {name: [p.read_bytes() for p in sorted((tmp_path / name).glob("*/*.png"))] for name in "abc"}
    assert contents["a"] == contents["b"] != contents["c"]


@pytest.mark.parametrize("extra", [["--size", "33"], ["--n", "0"], ["--crop", "1.5"]])
def test_wrong_numbers_exit_2(extra, in_process, photographs, tmp_path):
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", *extra)
    assert done.returncode == 2
    assert extra[0] in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(in_process, photographs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert in_process("trainer", "prepare", photographs, tmp_path / "out").returncode == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_pictures_that_differ_only_in_their_suffix_are_both_kept(in_process, photographs, tmp_path):
    with Image.open(photographs / "cyt_mast/picture0.png") as picture:
        picture.save(photographs / "cyt_mast/picture0.jpg")
    assert in_process("trainer", "prepare", photographs / "cyt_mast", tmp_path / "out", "--size", 32).returncode == 0
    assert len(list((tmp_path / "out/cyt_mast").iterdir())) == 4


def test_a_picture_is_turned_as_its_camera_says(in_process, tmp_path):
    (tmp_path / "in/c").mkdir(parents=True)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "in/c/a.png", exif=exif)
    assert in_process("trainer", "prepare", tmp_path / "in", tmp_path / "out", "--size", 32).returncode == 0
    with Image.open(tmp_path / "out/c/a_png_0.png") as picture:
        turned = np.asarray(picture)
    assert turned[:8].max() < 10 < 245 < turned[-8:].min()


def test_no_resize_keeps_the_pixels(in_process, photographs, tmp_path):
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--no-resize")
    assert done.returncode == 0, done.stderr
    with (
        Image.open(photographs / "cyt_mast/picture0.png") as wide,
        Image.open(tmp_path / "out/cyt_mast/picture0_png_0.png") as square,
    ):
        assert wide.size == (80, 64)
        np.testing.assert_array_equal(np.asarray(square), np.asarray(wide)[:, 8:72])


def test_transparency_and_captions_go_along(in_process, tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.concatenate([draw("cyt_mast", 0, 64)[0], np.zeros((64, 64, 1), np.uint8)], axis=-1)
    pixels[16:48, 16:48, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    (tmp_path / "in/a.txt").write_text("round, dark")
    done = in_process("trainer", "prepare", tmp_path / "in", tmp_path / "out", "--size", 32, "--n", 3)
    assert done.returncode == 0, done.stderr
    for k in range(3):
        with Image.open(tmp_path / f"out/in/a_png_{k}.png") as picture:
            assert picture.mode == "RGBA"
            assert np.asarray(picture)[..., 3].mean() == pytest.approx(64, rel=0.1)
        assert (tmp_path / f"out/in/a_png_{k}.txt").read_text() == "round, dark"


def test_names_that_become_one_are_told_apart_and_named(in_process, photographs, tmp_path):
    folder = photographs / "cyt_mast"
    (folder / "picture0.png").rename(folder / "picture.1.png")
    (folder / "picture2.png").rename(folder / "picture_1.png")
    done = in_process("trainer", "prepare", folder, tmp_path / "out", "--size", 32, "--n", 6)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 6
    assert "picture_1_png_2" in done.stderr
    assert count_sources(tmp_path / "out") == 3


def test_captions_of_other_endings_and_encodings_go_along(in_process, photographs, tmp_path):
    folder = photographs / "cyt_mast"
    (folder / "picture0.CAPTION").write_bytes("rund, körnig".encode("utf-16"))
    (folder / "picture1.txt").write_bytes("\ufeffdark\r\n".encode())
    assert in_process("trainer", "prepare", folder, tmp_path / "out", "--size", 32).returncode == 0
    texts = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*/*.txt")}
    assert texts == {"picture0_png_0.txt": "rund, körnig".encode(), "picture1_png_0.txt": b"dark\r\n"}
    (folder / "picture1.txt").write_bytes("dark".encode("utf-16-le"))
    assert in_process("trainer", "prepare", folder, tmp_path / "again", "--size", 32).returncode == 2
    assert not (tmp_path / "again").exists()
