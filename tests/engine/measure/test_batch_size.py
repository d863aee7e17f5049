"""`--batch-size auto`."""

from __future__ import annotations

import pytest

from engine.bundle.folder import open_bundle
from engine.measure.batch_size import measure_batch_size
from tests.engine.backends.fake_tensorrt import make_api
from tests.engine.plans import job_of, write_plans

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_measured_batch_size_is_one_that_the_plans_take(bundle_copy, monkeypatch):
    write_plans(bundle_copy, batch_sizes=[1, 2])
    bundle = open_bundle(str(bundle_copy))
    monkeypatch.setattr("engine.backends.tensorrt.installed_api", lambda bundle: make_api())
    assert measure_batch_size(job_of(bundle, num_inference_steps=1))[0] in (1, 2)
