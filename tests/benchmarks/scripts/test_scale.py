"""The simulation of many workers keeps to the operational laws, and the page says what the record says."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from benchmarks.pages import scale_page
from benchmarks.scripts import scale, scale_model


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


def table(text, heading):
    """The rows of the table below a heading."""
    rows = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [re.split(r" \| ", row.strip("| ")) for row in rows if row.startswith("| ")][2:]


def test_the_page_says_what_was_measured(tiny_bundle, tmp_path, monkeypatch):
    for module, name, value in [(scale, "WRITTEN", 40), (scale, "LARGE_BYTES", 2**24), (scale_page, "MILLION", 40_000)]:
        monkeypatch.setattr(module, name, value)
    words = ["scale", str(tmp_path / "record.json"), str(tmp_path / "page.md")]
    monkeypatch.setattr(sys, "argv", [*words, "--bundle", str(tiny_bundle), "--chunks", "5", "--steps", "2"])
    scale.main()
    record, text = json.loads((tmp_path / "record.json").read_text()), (tmp_path / "page.md").read_text()
    assert record["run"]["pictures"] == 20
    assert len(record["run"]["chunk_s"]) == 4
    # One worker makes the pictures one chunk after the other, at the measured rate, and joins nothing.
    hours = 40_000 / 4 * np.mean(record["run"]["chunk_s"]) / 3600
    simulated = table(text, "A million cells on 1 to 1,000 workers")
    assert [row[0] for row in simulated[:2] + simulated[-1:]] == ["1", "2", "1,000"]
    assert float(simulated[0][1]) == pytest.approx(hours, rel=0.1, abs=0.02)
    assert "No GPU was measured" in text
    assert "USD" not in text.split("## The price")[1]
    monkeypatch.setattr(sys, "argv", [*words, "--again", "--usd-per-hour", "0.5"])
    scale.main()
    again = (tmp_path / "page.md").read_text()
    assert table(again, "A million cells on 1 to 1,000 workers") == simulated
    for workers, machine_hours, core_hours, usd in table(again, "The price"):
        machine, cores = float(machine_hours.replace(",", "")), record["machine"]["cores"]
        assert float(core_hours.replace(",", "")) == pytest.approx(machine * cores, abs=0.5 + 0.05 * cores), workers
        assert float(usd.replace(",", "")) == pytest.approx(machine * 0.5, abs=0.03)
