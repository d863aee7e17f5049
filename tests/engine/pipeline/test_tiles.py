"""Large pictures in tiles: they cover the picture, agree where they overlap, and keep its colours."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import settings_of
from engine.pipeline.loops import Stopped
from engine.pipeline.tiles import TiledPipeline, tile_starts, with_coarse_colours
from engine.sampling.start import StartLevel


@pytest.mark.parametrize("side", [8, 9, 15, 16, 40, 41, 256])
@pytest.mark.parametrize("overlap", [1, 2, 7])
def test_tiles_cover_a_side_and_overlap(side, overlap):
    starts = tile_starts(side, 8, overlap)
    assert (starts[0], starts[-1]) == (0, side - 8)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= 8 - overlap).all()


def test_the_mean_colours_of_a_tile_stay():
    rng = np.random.default_rng(0)
    source = np.full((48, 48, 3), (120, 90, 150), np.uint8)
    drawn = (np.full((48, 48, 3), (90, 100, 160)) + rng.integers(-20, 21, (48, 48, 1))).astype(np.uint8)
    found = with_coarse_colours(drawn, source)
    assert np.abs(found.mean((0, 1)) - (120, 90, 150)).max() < 1
    # The detail of the drawing stays, too.
    assert np.corrcoef((found - found.mean((0, 1))).ravel(), (drawn - drawn.mean((0, 1))).ravel())[0, 1] > 0.9


@pytest.mark.parametrize("fixture", ["tiny_bundle", "stochastic"])
def test_a_large_picture_does_not_depend_on_the_batch(fixture, request):
    """Nor does a picture of odd size lose a row."""
    folder = request.getfixturevalue(fixture)
    bundle = open_bundle(str(folder / "bundle" if fixture == "stochastic" else folder))
    picture = np.random.default_rng(0).integers(0, 256, (45, 61, 3), np.uint8)
    found, tiles = [], []
    for batch_size in (1, 3):
        job = make_job(
            bundle, ["cyt_mast"], 1, settings_of(batch_size=batch_size, num_inference_steps=3, sampler="euler_a")
        )
        job = Job.of(bundle, job.request, start=StartLevel(0.5))
        pipeline = TiledPipeline(job, "cyt_mast", OpenVINOBackend(precision="f32"), 8)
        found.append(pipeline.run(picture, 5, threading.Event(), lambda done, total: tiles.append((done, total))))
        pipeline.close()
    assert found[0].shape == picture.shape
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1
    assert tiles[-1] == (6, 6)
    assert (found[0] != picture).mean() > 0.5


def test_a_stop_ends_between_steps(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["cyt_mast"], 1, settings_of(batch_size=1, num_inference_steps=2))
    job = Job.of(bundle, job.request, start=StartLevel(1.0))
    pipeline, stop = TiledPipeline(job, "cyt_mast", OpenVINOBackend(precision="f32"), 8), threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        pipeline.run(np.zeros((40, 40, 3), np.uint8), 0, stop, lambda *_: None)
    pipeline.close()
