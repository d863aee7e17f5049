"""Settings of a new bundle and of plans."""

from __future__ import annotations

from exporter.settings import BundleSettings, PlanSettings


def test_batch_sizes_are_sorted_and_the_size_is_the_bundles_by_default():
    assert PlanSettings(batch=(16, 1, 8, 8)).shapes((128, 96)) == ((1, 8, 16), 128, 96)
    assert PlanSettings(batch=(4,), size=(256, 192)).shapes((128, 96)) == ((4,), 256, 192)


def test_only_given_defaults_reach_the_manifest():
    assert BundleSettings().defaults == {}
    given = BundleSettings(num_inference_steps=5, guidance_interval=(0.5, 6.0))
    assert given.defaults == {"num_inference_steps": 5, "guidance_interval": [0.5, 6.0]}
