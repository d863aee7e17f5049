"""`engine upscale`: a filter or the model of a class, and what a wrong command line says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def source(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    path = tmp_path / "cell.png"
    Image.fromarray(pixels).save(path)
    return path


def test_the_model_of_a_class_draws_in_tiles(in_process, tiny_bundle, source, tmp_path):
    options = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--steps", 2, "--seed", 4, "--precision", "f32"]
    arguments = ["engine", "upscale", source, "--out", tmp_path / "out", "--scale", 2, *options]
    done = in_process(*arguments)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out/cell.png") as picture:
        assert picture.size == (48, 48)
        description = json.loads(picture.info["cytosynth"])
    assert description["synthetic"] is True
    assert description["derived"] is True
    assert (description["initial_picture"], description["initial_synthetic"]) == ("cell.png", False)
    assert (description["strength"], description["seed"], description["upscaled"]) == (0.3, 4, 2)
    assert (description["width"], description["tile_width"], description["tile_overlap"]) == (48, 32, 8)
    again = in_process(*arguments)
    assert "0 of them new" in again.stdout


def test_a_synthetic_picture_stays_marked(in_process, tiny_bundle, tmp_path):
    made = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 1, "--out", tmp_path / "made"]
    assert in_process("engine", "generate", *made).returncode == 0
    done = in_process("engine", "upscale", tmp_path / "made/cyt_mast", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out/000000.png") as picture:
        description = json.loads(picture.info["cytosynth"])
    assert (description["synthetic"], description["width"], description["upscaled"]) == (True, 64, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", 3], "--steps"),
        (["--strength", 0.5], "--strength"),
        (["--scale", 1], "--scale"),
        (["--class", "cyt_mast", "--tile", 30], "--width"),
        (["--class", "cyt_mast", "--overlap", 32], "--overlap"),
        (["--class", "cyt_mast", "--strength", 0], "--strength"),
        (["--class", "all"], "--class"),
        (["--class", "cyt_mast", "--batch-size", "auto"], "--batch-size"),
    ],
)
def test_wrong_requests_exit_2_and_write_nothing(in_process, tiny_bundle, source, tmp_path, options, words):
    bundle = ["--bundle", tiny_bundle] if "--class" in options else []
    done = in_process("engine", "upscale", source, "--out", tmp_path / "out", *bundle, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_picture_is_named(in_process, tmp_path):
    done = in_process("engine", "upscale", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "none" in done.stderr
