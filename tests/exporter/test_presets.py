"""Presets in a bundle's manifest."""

from __future__ import annotations

import json

import pytest

WRONG = {
    "a path for a name": ["../fast", "--steps", 5],
    "no such sampler": ["fast", "--sampler", "heun"],
    "langevin, whose own settings a preset has not": ["fast", "--sampler", "langevin"],
    "an interval upside down": ["fast", "--guidance-interval", 3, 2],
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_preset_is_refused_and_changes_nothing(case, in_process, bundle_copy):
    before = (bundle_copy / "manifest.json").read_bytes()
    done = in_process("exporter", "preset", bundle_copy, *WRONG[case])
    assert done.returncode == 2
    assert "fix:" in done.stderr
    assert (bundle_copy / "manifest.json").read_bytes() == before


def test_a_preset_replaces_the_one_of_its_name(in_process, bundle_copy):
    for steps in (5, 7):
        done = in_process("exporter", "preset", bundle_copy, "fast", "--steps", steps, "--sampler", "euler")
        assert done.returncode == 0, done.stderr
        assert "(--preset fast)" in done.stdout
    presets = json.loads((bundle_copy / "manifest.json").read_text())["presets"]
    assert presets["fast"]["num_inference_steps"] == 7
    # What equals the default stays out, so that a later default reaches the preset.
    assert not presets["fast"].keys() & {"guidance_interval", "precision"}
