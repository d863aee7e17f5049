"""The raw samples of `engine bench`."""

from __future__ import annotations

import pytest

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.measure.bench import Measured, bench


def test_every_job_has_a_sample_per_round_without_the_warm_up(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    options = {"backend": "onnxruntime", "num_inference_steps": 1}
    jobs = [make_job(bundle, ["cyt_mast"], 1, settings_of(batch_size=size, **options)) for size in (1, 2)]
    record = bench(jobs, rounds=2)
    assert (record["rounds"], record["bundle_sha256"]) == (2, bundle.sha256)
    assert [row["batch_size"] for row in record["measured"]] == [1, 2]
    for row in record["measured"]:
        assert all(len(row[name]) == 2 for name in ("denoise_ms", "decode_ms", "png_ms", "graphs_ms"))
        assert row["runtime"].startswith("onnxruntime")


def test_the_time_of_a_picture_is_the_median_round_by_its_batch():
    measured = Measured("openvino", "1", "f32", 2, 0.1, [10, 20, 90], [2, 2, 2], [0, 2, 4], [9, 18, 60])
    assert measured.picture_ms == 12
    assert measured.host_share == pytest.approx(1 - 87 / 132)
    assert Measured("tensorrt", "1", "auto", 1, 0.1, [1], [1], [1], [1]).host_share is None
