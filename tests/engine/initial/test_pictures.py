"""Initial pictures and masks: which files are taken, how they are hashed, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.initial.pictures import find_initial_pictures
from engine.initial.settings import InitialSettings, initial_request


def draw(path, size=(32, 32), mode="RGB", value=90, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(path, **options)
    return path


def find(class_names=("mast",), size=(32, 32), **options):
    settings = InitialSettings(**options)
    return find_initial_pictures(settings, initial_request(settings), class_names, size)


def test_a_file_a_folder_or_a_folder_per_class(tmp_path):
    for name in ("b.png", "a.jpg"):
        draw(tmp_path / "flat" / name)
        draw(tmp_path / "classes/mast" / name)
    draw(tmp_path / "classes/kist/c.png")
    one, _ = find(init=tmp_path / "flat/b.png")
    assert [one.of("mast", i).path.name for i in range(3)] == ["b.png"] * 3
    folder, _ = find(init=tmp_path / "flat")
    assert [folder.of("mast", i).path.name for i in range(3)] == ["a.jpg", "b.png", "a.jpg"]
    classes, _ = find(("mast", "kist"), init=tmp_path / "classes")
    assert [classes.of(name, 0).path.name for name in ("mast", "kist")] == ["a.jpg", "c.png"]


def test_the_hash_covers_names_pictures_and_masks(tmp_path):
    path, mask = draw(tmp_path / "in/a.png"), draw(tmp_path / "mask.png", mode="L", value=255)
    found, _ = find(init=tmp_path / "in")
    picture = found.of("mast", 0)
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert picture.facts() == {
        "initial_picture": "a.png",
        "initial_sha256": picture.sha256,
        "initial_synthetic": False,
    }
    masked, _ = find(init=tmp_path / "in", mask=mask)
    assert masked.of("mast", 0).facts()["mask"] == "mask.png"
    draw(path, value=91)
    changed, _ = find(init=tmp_path / "in")
    assert len({found.sha256, masked.sha256, changed.sha256}) == 3


def test_each_picture_has_the_mask_of_its_name(tmp_path):
    draw(tmp_path / "in/a.jpg")
    draw(tmp_path / "masks/a.png", mode="L", value=255)
    found, _ = find(init=tmp_path / "in", mask=tmp_path / "masks")
    assert found.of("mast", 0).mask.name == "a.png"
    draw(tmp_path / "in/b.png")
    with pytest.raises(RequestError, match=r"mask of the initial picture .*b\.png"):
        find(init=tmp_path / "in", mask=tmp_path / "masks")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such file or folder"),
        (lambda folder: folder.mkdir(), "no pictures"),
        (lambda folder: draw(folder / "a.png", (32, 30)), "32 x 30 pixels"),
        (lambda folder: (draw(folder / "a.png"), (folder / "a.heic").write_bytes(b"x")), "a.heic"),
        (lambda folder: (folder.mkdir(), (folder / "a.png").write_bytes(b"x")), "unreadable"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, make, words):
    make(tmp_path / "in")
    with pytest.raises(RequestError, match=words):
        find(init=tmp_path / "in")


def test_another_shape_needs_a_resize_mode(tmp_path):
    draw(tmp_path / "in/a.png", (37, 21))
    found, _ = find(init=tmp_path / "in", resize_mode="crop")
    assert found.of("mast", 0).size == (37, 21)
    # An enlarged area has the shape that is drawn.
    mask = draw(tmp_path / "mask.png", (37, 21), "L", 255)
    find(init=tmp_path / "in", mask=mask, inpaint_area="masked")


def test_exif_turns_a_picture_and_transparency_is_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(tmp_path / "in/a.jpg", (32, 16), exif=exif)
    found, warnings = find(size=(16, 32), init=tmp_path / "in")
    assert found.of("mast", 0).size == (16, 32)
    assert warnings == ()
    draw(tmp_path / "clear/a.png", mode="RGBA", value=100)
    _, warnings = find(init=tmp_path / "clear")
    assert "transparent, such as a.png; they are laid on white" in warnings[0]


def test_a_synthetic_initial_picture_is_known(finished_picture: Path):
    found, _ = find(init=finished_picture)
    assert found.of("mast", 0).facts()["initial_synthetic"] is True


@pytest.fixture
def finished_picture(tmp_path):
    from engine.output.formats import encode_png

    path = tmp_path / "in/a.png"
    path.parent.mkdir()
    description = {
        "prompt": "p",
        "negative_prompt": None,
        "steps": 1,
        "sampler": "ddim",
        "schedule": "leading",
        "seed": 0,
        "guidance_scale": 1.0,
        "width": 32,
        "height": 32,
        "bundle_sha256": "0" * 64,
        "bundle": "b",
        "class": "c",
        "rng": "nv",
    }
    path.write_bytes(encode_png(np.zeros((32, 32, 3), np.uint8), description))
    return path
