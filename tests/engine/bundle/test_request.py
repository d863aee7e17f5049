"""Presets: a preset makes the same pictures as its settings given one by one."""

from __future__ import annotations

import json

import pytest

from engine.bundle.folder import open_bundle
from engine.measure.reference import reference_jobs

SETTINGS = ["--steps", 5, "--sampler", "euler", "--guidance-scale", 3, "--guidance-interval", 0.5, 6]


@pytest.fixture
def with_preset(in_process, bundle_copy):
    """A bundle whose preset `fast` has SETTINGS."""
    done = in_process("exporter", "preset", bundle_copy, "fast", *SETTINGS)
    assert done.returncode == 0, done.stderr
    return bundle_copy


def generate(in_process, bundle, out, *options):
    done = in_process("engine", "generate", "--bundle", bundle, "--class", "cyt_mast", "--n", 2, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "run.json").read_text())["identity"]


def test_a_preset_makes_the_pictures_of_its_settings(in_process, with_preset, tmp_path):
    named = generate(in_process, with_preset, tmp_path / "named", "--preset", "fast")
    assert named == generate(in_process, with_preset, tmp_path / "given", *SETTINGS)
    assert (named["schedule"], named["batch_size"]) == ("normal", 4)  # the sampler's own, the bundle's own
    pictures = [(tmp_path / name / "cyt_mast/000001.png").read_bytes() for name in ("named", "given")]
    assert pictures[0] == pictures[1]


def test_an_option_beside_a_preset_counts(in_process, with_preset, tmp_path):
    options = ["--preset", "fast", "--steps", 3, "--guidance-interval", 1, 2]
    identity = generate(in_process, with_preset, tmp_path / "out", *options)
    assert (identity["sampler"], identity["num_inference_steps"]) == ("euler", 3)
    assert identity["guidance_interval"] == [1.0, 2.0]


def test_the_bundle_names_its_presets(in_process, with_preset):
    facts = json.loads(in_process("engine", "info", with_preset, "--json").stdout)
    assert facts["presets"]["fast"] == {
        "sampler": "euler",
        "schedule": "normal",
        "num_inference_steps": 5,
        "guidance_scale": 3.0,
        "guidance_interval": [0.5, 6.0],
        "precision": "auto",
    }
    assert (
        "--preset fast: euler, normal, 5 steps, guidance 3 for sigma 0.5 to 6"
        in in_process("engine", "info", with_preset).stdout
    )
    assert in_process("engine", "verify", with_preset).returncode == 0
    done = in_process(
        "engine", "generate", "--bundle", with_preset, "--class", "cyt_mast", "--n", 1, "--preset", "slow"
    )
    assert done.returncode == 2
    assert "one of fast, the presets of the bundle" in done.stderr


@pytest.mark.slow
def test_a_bundles_default_may_guide_on_an_interval(in_process, whole_path, tmp_path):
    merged = whole_path / "merged/cyt_mast"
    options = ["--steps", 4, "--guidance-scale", 3, "--guidance-interval"]
    refused = in_process("exporter", "onnx", merged, "--out", tmp_path / "no", *options, 6, 0.5)
    assert refused.returncode == 2
    assert "0 <= LO <= HI" in refused.stderr
    bundle = tmp_path / "bundle"
    made = in_process("exporter", "onnx", merged, "--out", bundle, *options, 0.5, 6)
    assert made.returncode == 0, made.stderr
    assert "guidance 3 for sigma 0.5 to 6, batch 8" in in_process("engine", "info", bundle).stdout
    assert generate(in_process, bundle, tmp_path / "own")["guidance_interval"] == [0.5, 6.0]
    everywhere = generate(in_process, bundle, tmp_path / "everywhere", "--guidance-interval", 0, 1e6)
    assert everywhere["guidance_interval"] is None
    pictures = [(tmp_path / name / "cyt_mast/000000.png").read_bytes() for name in ("own", "everywhere")]
    assert pictures[0] != pictures[1]
    # cyto_bench guides every step, and so does what it is compared with.
    (job,) = reference_jobs(open_bundle(str(bundle)), ["cyt_mast"], backend="openvino")
    assert (job.request.guidance_scale, job.request.guidance_interval) == (3.0, None)
    # A class that is added states the same default, or none.
    again = in_process("exporter", "onnx", merged, "--out", bundle, "--guidance-interval", 1, 6)
    assert again.returncode == 2
    assert "defaults.guidance_interval" in again.stderr
