"""Blocks of JPEG: Pillow's own files, the grid of prepared photographs, crops, gradients and wrong files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import RequestError
from trainer.base.jpeg import Jpeg, JpegGrid, jpeg_of
from trainer.pictures.folders import centre_square


@pytest.fixture(scope="module")
def scene():
    """A smooth picture of 180 x 183 pixels with strong colours."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(40, 216, (23, 23, 3), dtype=np.uint8))
    return coarse.resize((180, 183), Image.Resampling.BICUBIC)


def stored(picture, **options):
    """The picture as a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", **{"quality": 40, "subsampling": 0, **options})
    return file


def opened(picture, **options):
    return Image.open(stored(picture, **options)).convert("RGB")


def to_tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1


def levels(difference):
    return float(127.5 * difference.abs().mean())


def test_it_is_what_pillow_makes_of_a_file(scene, tmp_path):
    """At the size of the file only the rounding to whole grey levels differs, before and after the coefficients."""
    picture = scene.crop((0, 0, 176, 176))
    path = tmp_path / "cell.jpg"
    path.write_bytes(stored(picture).getvalue())
    found, wanted = jpeg_of(path, 176, 1.0)(to_tensor(picture)), to_tensor(opened(picture))
    assert float(127.5 * (found - wanted).abs().median()) < 0.6
    # Here and there, this rounding moves a coefficient to the next step.
    assert levels(found - wanted) < 0.3 * levels(wanted - to_tensor(picture))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(jpeg_of(path, 176, 1.0)(to_tensor(picture)), found)


def test_blocks_lie_where_prepare_leaves_them(scene, tmp_path):
    """A photograph is stored, cut and reduced as `prepare` does. The same without storage, and then the layer, is near
    to it; with another grid it is farther away than without a layer."""
    path = tmp_path / "cell.jpg"
    path.write_bytes(stored(scene).getvalue())
    wanted = to_tensor(Image.fromarray(centre_square(opened(scene), 64, 0.7)))
    plain = to_tensor(Image.fromarray(centre_square(scene, 64, 0.7)))
    jpeg = jpeg_of(path, 64, 0.7)
    assert jpeg.grid == JpegGrid(scale=1.96875, left=5.0, top=3.5)
    assert levels(jpeg(plain) - wanted) < 0.75 * levels(plain - wanted)
    other = Jpeg(JpegGrid(1.96875, 1.0, 7.5))
    other.load_state_dict(jpeg.state_dict())
    assert levels(other(plain) - wanted) > levels(plain - wanted)


def test_a_file_that_was_enlarged_has_larger_blocks(scene, tmp_path):
    small = scene.resize((60, 60))
    path = tmp_path / "cell.jpg"
    path.write_bytes(stored(small).getvalue())
    large, wanted = (to_tensor(one.resize((120, 120), Image.Resampling.LANCZOS)) for one in (small, opened(small)))
    assert levels(jpeg_of(path, 120, 1.0)(large) - wanted) < 0.5 * levels(large - wanted)


def test_gradients_pass_where_a_step_is_near_and_stop_in_its_middle():
    jpeg = Jpeg(JpegGrid(1.0, 0.0, 0.0))
    jpeg.steps.fill_(80)
    for level, low, high in ((0.0, 0.0, 0.5), (5.0, 1.2, 3.0)):
        pictures = torch.full((1, 3, 8, 8), level / 127.5, requires_grad=True)
        # The mean of a block is an eighth of its first coefficient.
        jpeg(pictures).mean().backward()
        assert low <= float(pictures.grad.sum()) <= high


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"subsampling": 2}, "at a smaller size"),
        ({"exif": {0x0112: 6}}, "turned"),
        ({"mode": "L"}, "in the mode L"),
        ({"format": "PNG"}, "PNG"),
        ({"format": None}, "cannot identify"),
    ],
)
def test_files_that_fit_no_grid_are_refused(options, word, scene, tmp_path):
    options, path = dict(options), tmp_path / "cell.jpg"
    if "exif" in options:
        exif = Image.Exif()
        exif.update(options["exif"])
        options["exif"] = exif
    picture, format_ = scene.convert(options.pop("mode", "RGB")), options.pop("format", "JPEG")
    if format_ is None:
        path.write_bytes(b"no picture")
    else:
        picture.save(path, format_, **{"subsampling": 0, **options})
    with pytest.raises(RequestError, match=word):
        jpeg_of(path, 64, 1.0)
    with pytest.raises(RequestError, match="record of their crop"):
        jpeg_of(path, 64, None)


@pytest.mark.parametrize("values", [(0, 0, 0), (64, 0, 0), (1, 8, 0), (1, 0, -1), ("1", 0, 0), (True, 0, 0)])
def test_a_grid_without_a_meaning_is_refused(values):
    with pytest.raises(ValueError, match="jpeg"):
        JpegGrid(*values)
