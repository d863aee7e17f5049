"""`python -m benchmarks training`: steps per second of several loops."""

from __future__ import annotations

import json

import pytest


def test_bench_compares_the_loops(in_process, whole_path, tmp_path):
    options = ["--base", whole_path / "base", "--rounds", 2, "--steps", 1, "--record", tmp_path / "r.json"]
    done = in_process("benchmarks", "training", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    peers = ["as AUTOMATIC1111", "as diffusers", "as AUTOMATIC1111, f32", "as diffusers, f32"]
    assert list(found["seconds_per_step"]) == [*peers, "fit f32", "fit bf16"]
    medians = {name: sum(values) / 2 for name, values in found["seconds_per_step"].items()}
    assert found["times_peer"]["fit f32"]["as diffusers"] == pytest.approx(medians["as diffusers"] / medians["fit f32"])


def test_a_lora_is_compared_with_the_script_of_diffusers(in_process, whole_path, tmp_path):
    options = ["--method", "lora", "--f32-only", "--rounds", 1, "--steps", 1, "--record", tmp_path / "r.json"]
    done = in_process("benchmarks", "training", "--base", whole_path / "base", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["method"] == "lora"
    assert list(found["seconds_per_step"]) == ["as diffusers, f32", "fit f32"]
    assert all(seconds > 0 for values in found["seconds_per_step"].values() for seconds in values)
