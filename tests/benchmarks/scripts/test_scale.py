"""The record and the page of a million cells say the same."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

from benchmarks.pages import scale_page
from benchmarks.scripts import scale


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
