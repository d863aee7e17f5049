"""Picture files: which count, how they are read, and which are synthetic."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.pictures import class_names_of, is_synthetic, pictures_in, read_picture, read_with_alpha, strangers_in
from tests.engine.hostile import hostile_png


def test_folders_are_classes_and_endings_are_pictures(tmp_path):
    for name in ("b/1.PNG", "b/0.jpg", "b/notes.txt", "a/x.webp", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert class_names_of(tmp_path) == ["a", "b"]
    assert [path.name for path in pictures_in(tmp_path / "b")] == ["0.jpg", "1.PNG"]
    assert class_names_of(tmp_path / "absent") == []


def test_hidden_and_system_files_are_neither_pictures_nor_strangers(tmp_path):
    for name in ("._0.png", ".x.png", ".DS_Store", "Thumbs.db", "desktop.ini", "0.png", "0.CAPTION", "x.gif", "y"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "__MACOSX").mkdir()
    assert [path.name for path in pictures_in(tmp_path)] == ["0.png"]
    assert [path.name for path in strangers_in(tmp_path)] == ["x.gif", "y"]
    assert class_names_of(tmp_path) == []


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


PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def many_pages(path, kind, **options):
    frames = [Image.fromarray(np.roll(PIXELS, k, 0)) for k in range(3)]
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)


def stack_of_imagej(path):
    """A stack above 4 GB has one page; its description alone states the number of its pictures."""
    Image.fromarray(PIXELS[..., 0]).save(path, "TIFF", description="ImageJ=1.54f\nimages=7\nslices=7\n")


def five_channels(path):
    """A TIFF with RGB and one channel of unknown meaning, as Pillow writes RGBX."""
    Image.fromarray(PIXELS).convert("RGBX").save(path, "TIFF")


def fewer_pixels_per_byte(mode):
    return lambda path: Image.fromarray(PIXELS).convert(mode).save(path, "TIFF")


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (lambda path: many_pages(path, "TIFF"), "3 pages"),
        (lambda path: many_pages(path, "GIF"), "3 pages"),
        (lambda path: many_pages(path, "PNG"), "3 pages"),
        (lambda path: many_pages(path, "WEBP", lossless=True), "3 pages"),
        (lambda path: many_pages(path, "MPO"), "3 pages"),
        (stack_of_imagej, "7 pages"),
        (five_channels, "4 channels"),
        (fewer_pixels_per_byte("LAB"), "LAB pixels"),
        (fewer_pixels_per_byte("CMYK"), "CMYK pixels"),
        (fewer_pixels_per_byte("YCbCr"), "YCbCr pixels"),
        (lambda path: Image.fromarray(PIXELS.astype(np.float32)[..., 0]).save(path, "TIFF"), "32 bits per channel"),
        (lambda path: Image.fromarray(PIXELS.astype(np.int32)[..., 0]).save(path, "TIFF"), "32 bits per channel"),
    ],
)
def test_a_file_that_is_not_one_eight_bit_picture_is_refused_with_its_name(write, found, tmp_path):
    # The content decides, not the ending.
    write(tmp_path / "x.png")
    with pytest.raises(RequestError, match=found) as caught:
        read_picture(tmp_path / "x.png")
    assert "x.png" in caught.value.subject
    assert caught.value.fix


def test_transparent_colours_of_a_palette_become_an_alpha_channel(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    Image.fromarray(np.uint8([[[1, 2, 3], [4, 5, 6]]])).save(tmp_path / "rgb.png", transparency=(4, 5, 6))
    for name, colours in (("p", [[255, 0, 0], [0, 255, 0]]), ("rgb", [[1, 2, 3], [4, 5, 6]])):
        found = read_with_alpha(tmp_path / f"{name}.png")
        assert np.asarray(found)[0].tolist() == [[*colours[0], 255], [*colours[1], 0]]
        assert np.asarray(read_picture(tmp_path / f"{name}.png"))[0].tolist() == colours


def test_a_greyscale_and_an_opaque_picture_keep_their_values(tmp_path):
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "grey.tif")
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "grey.tif")), np.dstack([PIXELS[..., 0]] * 3))
    Image.fromarray(PIXELS).save(tmp_path / "x.tif", compression="tiff_lzw")
    assert read_with_alpha(tmp_path / "x.tif").mode == "RGB"
    np.testing.assert_array_equal(np.asarray(read_with_alpha(tmp_path / "x.tif")), PIXELS)


def test_a_name_that_is_no_utf8_is_refused_before_any_picture_is_read(tmp_path):
    (tmp_path / os.fsdecode(b"zell\xe9.png")).write_bytes(b"")
    with pytest.raises(RequestError, match="rename the file") as caught:
        pictures_in(tmp_path)
    str(caught.value).encode()
