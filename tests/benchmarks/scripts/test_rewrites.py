"""The script compares the graphs that the engine changes with the graphs as exported."""

from __future__ import annotations

import json
import sys

from benchmarks.scripts import rewrites
from engine.backends import group_norm as replacement


def test_all_ways_are_measured_and_differ(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(replacement, "LEAST_ELEMENTS", 1)
    options = ["--bundle", str(tiny_bundle), "--class", "cyt_mast", "--batch-size", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["rewrites", str(tmp_path / "record.json"), *options])
    rewrites.main()
    rows = json.loads((tmp_path / "record.json").read_text())["measured"]
    assert [row["graph"] for row in rows] == ["unet.cyt_mast.onnx", "vae_decoder.onnx"]
    for row in rows:
        assert row["relative_l2"]["as exported"] == 0
    # Another order of additions changes the last bits of the UNet's output.
    assert 0 < rows[0]["relative_l2"]["channels last"] < 1e-4
    assert rows[0]["relative_l2"]["engine"] < 1e-4
