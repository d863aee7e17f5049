"""The simulation of many workers keeps to the operational laws."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import scale_model


def test_one_worker_takes_its_chunks_one_after_the_other():
    found = scale_model.simulate(10, 1, [2.0], 0.5, start_s=3)
    assert found.seconds == pytest.approx(3 + 10 * 2 + 0.5)
    assert found.server_busy == pytest.approx(10 * 0.5 / found.seconds)


def test_a_worker_whose_writes_are_slower_is_as_slow_as_they():
    assert scale_model.simulate(10, 1, [1.0], 4.0).seconds == pytest.approx(1 + 10 * 4)


@pytest.mark.parametrize("workers", [1, 3, 10, 30, 100])
@pytest.mark.parametrize("write_s", [1e-6, 0.02, 0.3])
def test_the_rate_comes_near_the_bound_and_never_above(workers, write_s):
    chunk_s = np.random.default_rng(1).gamma(20, 0.1, 200)
    chunks = 60 * workers
    rate = chunks / scale_model.simulate(chunks, workers, chunk_s, write_s).seconds
    bound = min(workers / chunk_s.mean(), 1 / write_s)
    # The last of many workers is later than their mean.
    assert 0.8 * bound < rate < 1.05 * bound


def test_a_server_takes_what_the_slowest_of_its_parts_takes():
    server = scale_model.Server(bytes_per_s=100, files_per_s=10, link_bytes_per_s=50)
    assert server.seconds(100, 1) == 2
    assert server.seconds(1, 5) == 0.5
    assert scale_model.Server(100, 10, 500).seconds(100, 1) == 1
