"""Pictures of more than 8 bits per channel are scaled by a given range, or refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from trainer.pictures.deep import DepthRange, measure_range, open_picture

tifffile = pytest.importorskip("tifffile", reason="tifffile: reads deep TIFF files")
imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs: reads deep PNG files")

CELL = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
DEEP = CELL.astype(np.uint16) * 16
"""12 bits in 16."""
RANGE = DepthRange(0, 255 * 16)


def png(values):
    return lambda path: path.write_bytes(imagecodecs.png_encode(values))


def tiff(values, **options):
    return lambda path: tifffile.imwrite(path, values, **options)


@pytest.mark.parametrize(
    "write",
    [
        png(DEEP),
        tiff(DEEP, photometric="rgb"),
        tiff(DEEP, photometric="rgb", compression="lzw", predictor=True),
        tiff(np.moveaxis(DEEP, -1, 0).copy(), photometric="rgb", planarconfig="separate"),
        tiff(DEEP.astype(np.float32), photometric="rgb"),
        tiff(DEEP, photometric="rgb", byteorder=">"),
        tiff(DEEP, photometric="rgb", bigtiff=True),
    ],
)
def test_rgb_of_16_and_32_bits_is_scaled_exactly(write, tmp_path):
    write(tmp_path / "x.tif")
    with pytest.raises(RequestError, match="--depth-range 0 4080"):
        open_picture(tmp_path / "x.tif")
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / "x.tif", RANGE)), CELL)


def test_grey_is_scaled_too_and_white_may_be_zero(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", DEEP[..., 0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "y.tif", DEEP[..., 0], photometric="miniswhite")
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "z.png")
    for name, expected in (("x.tif", CELL[..., 0]), ("y.tif", 255 - CELL[..., 0]), ("z.png", CELL[..., 0])):
        np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / name, RANGE)), np.dstack([expected] * 3))


def test_alpha_is_scaled_by_the_range_of_its_type_and_a_turned_picture_is_turned(tmp_path):
    alpha = np.full((32, 32, 1), 65535, np.uint16)
    alpha[:8] = 0
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(np.concatenate([DEEP, alpha], -1)))
    found = np.asarray(open_picture(tmp_path / "x.png", RANGE))
    np.testing.assert_array_equal(found[..., :3], CELL)
    assert found[:8, :, 3].max() == 0
    assert found[8:, :, 3].min() == 255
    tifffile.imwrite(tmp_path / "x.tif", DEEP, photometric="rgb", extratags=[(274, "H", 1, 3, True)])
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / "x.tif", RANGE)), CELL[::-1, ::-1])


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (tiff(np.stack([DEEP] * 3), photometric="rgb"), "3 pages"),
        (tiff(np.stack([DEEP[..., 0]] * 3), imagej=True), "3 pages"),
        (tiff(np.dstack([DEEP, DEEP[..., :2]]), photometric="rgb"), "5 channels"),
        (tiff(np.dstack([DEEP, DEEP[..., :1]]), photometric="separated"), "SEPARATED"),
        (tiff(np.full((8, 8), np.nan, np.float32)), "not finite"),
        (lambda path: path.write_bytes(imagecodecs.png_encode(DEEP)[:900]), "unreadable"),
    ],
)
def test_what_is_not_one_grey_or_rgb_picture_is_refused_with_its_name(write, found, tmp_path):
    write(tmp_path / "x.tif")
    with pytest.raises(RequestError, match=found) as caught:
        open_picture(tmp_path / "x.tif", RANGE)
    assert "x.tif" in caught.value.subject


def test_percentiles_are_those_of_all_pictures_together(tmp_path):
    for name, value in (("a", 100), ("b", 300)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((8, 8), value, np.uint16))
    Image.fromarray(CELL).save(tmp_path / "c.png")
    paths = sorted(tmp_path.iterdir())
    assert measure_range(paths, (0, 100)) == DepthRange(100, 300)
    assert measure_range(paths[2:], (0, 100)) is None
    with pytest.raises(RequestError, match="further apart"):
        measure_range(paths[:1], (0, 100))
    tifffile.imwrite(tmp_path / "d.tif", np.ones((8, 8), np.float32))
    with pytest.raises(RequestError, match="--depth-range"):
        measure_range(sorted(tmp_path.iterdir()), (0, 100))


@pytest.mark.parametrize("extra", [["--depth-range", 0, 4080], ["--depth-percentiles", 0, 100]])
def test_prepare_says_and_records_the_range(extra, in_process, tmp_path):
    (tmp_path / "in").mkdir()
    values = DEEP.copy()
    values[0, 0], values[0, 1] = 0, 4080
    tifffile.imwrite(tmp_path / "in/x.tif", values, photometric="rgb")
    assert in_process("trainer", "prepare", tmp_path / "in", tmp_path / "out", "--no-resize").returncode == 2
    assert not (tmp_path / "out").exists()
    done = in_process("trainer", "prepare", tmp_path / "in", tmp_path / "out", "--no-resize", *extra)
    assert done.returncode == 0, done.stderr
    assert "values 0 to 4080 became 0 to 255" in done.stderr
    with Image.open(tmp_path / "out/in/x_tif_0.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture)[1:], CELL[1:])
    assert json.loads((tmp_path / "out/sources.jsonl").read_text())["depth_range"] == [0, 4080]


@pytest.mark.parametrize("extra", [[5, 5], [9, 1], ["nan", 1]])
def test_a_range_must_ascend(extra, in_process, tmp_path):
    done = in_process("trainer", "prepare", tmp_path, tmp_path / "out", "--depth-range", *extra)
    assert done.returncode == 2
    assert "--depth-range" in done.stderr
