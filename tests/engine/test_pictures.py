"""Picture files: which count, how they are read, and which are synthetic."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.pictures import class_names_of, is_synthetic, pictures_in, read_picture
from tests.engine.hostile import hostile_png


def test_folders_are_classes_and_endings_are_pictures(tmp_path):
    for name in ("b/1.PNG", "b/0.jpg", "b/notes.txt", "a/x.webp", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert class_names_of(tmp_path) == ["a", "b"]
    assert [path.name for path in pictures_in(tmp_path / "b")] == ["0.jpg", "1.PNG"]
    assert class_names_of(tmp_path / "absent") == []


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    found = np.asarray(read_picture(tmp_path / "x.png"))
    assert found.shape == (3, 2, 3)
    assert found[0, 1].tolist() == [255, 255, 255]


def test_deep_greyscale_and_what_is_no_picture_are_refused(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "text.png").write_text("none")
    for name in ("deep.png", "text.png", "absent.png"):
        with pytest.raises(RequestError, match=name):
            read_picture(tmp_path / name)


def test_only_a_marked_picture_is_synthetic(tmp_path):
    hostile_png(tmp_path / "made.png", "{}")
    hostile_png(tmp_path / "other.png", "{}", key="parameters")
    found = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            found[path.name] = is_synthetic(picture)
    assert found == {"made.png": True, "other.png": False}


def test_a_name_that_is_no_utf8_is_refused_before_any_picture_is_read(tmp_path):
    (tmp_path / os.fsdecode(b"zell\xe9.png")).write_bytes(b"")
    with pytest.raises(RequestError, match="rename the file") as caught:
        pictures_in(tmp_path)
    str(caught.value).encode()
