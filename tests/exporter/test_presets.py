"""Presets in a bundle's manifest."""

from __future__ import annotations

import json

import pytest

from engine.bundle.folder import open_bundle
from tests.exporter.distilled import table_of

WRONG = {
    "a path for a name": ["../fast", "--steps", 5],
    "no such sampler": ["fast", "--sampler", "dpm_adaptive"],
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


def test_a_learned_table_becomes_a_preset(bundle_copy, in_process, tmp_path):
    manifest = open_bundle(str(bundle_copy)).manifest
    table = table_of(tmp_path / "table.json", manifest, guidance_scale=1.5)
    done = in_process("exporter", "preset", bundle_copy, "turbo", "--table", table)
    assert done.returncode == 0, done.stderr
    preset = open_bundle(str(bundle_copy)).manifest.presets["turbo"]
    assert (preset.sampler, preset.num_inference_steps, preset.guidance_scale) == ("learned", 3, 1.5)
    before = (bundle_copy / "manifest.json").read_bytes()
    for options, words in (
        (("turbo", "--table", table, "--steps", 3), "--steps, too"),
        (("turbo", "--table", table, "--precision", "int8"), "no 8-bit graphs"),
        (("turbo", "--table", tmp_path / "none"), "The table"),
        (("turbo", "--table", table_of(tmp_path / "b", manifest, format="x")), "no file of the format"),
    ):
        done = in_process("exporter", "preset", bundle_copy, *options)
        assert done.returncode == 2
        assert words in done.stderr
    assert (bundle_copy / "manifest.json").read_bytes() == before
