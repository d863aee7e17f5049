"""cyto_bench with a preset of the bundle: its table, its UNet, and what is refused."""

from __future__ import annotations

import functools
import json
import shutil

import pytest

from engine.bundle.folder import open_bundle
from tests.cpp_bench.conftest import CELLS, STEPS, altered, reference_of, with_plans

pytestmark = pytest.mark.slow


def test_a_preset_runs_its_table_and_its_unet(bench, class_name, tmp_path):
    """The preset turbo of the embedded bundle, on OpenVINO and on the stand-in of TensorRT."""
    bundle = shutil.copytree(CELLS, tmp_path / "bundle")
    made = reference_of(tmp_path, class_name, bundle, num_inference_steps=None, preset="turbo")
    run = functools.partial(bench, "--batch", 2, "--iterations", 1, "--warmup", 0, bundle=bundle)
    turbo = ["--preset", "turbo", "--json", tmp_path / "record.json"]
    done = run(*turbo, "--precision", "f32", "--reference", made)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["check"]["trajectory"]["deviation"] <= 1e-3
    asked = record["request"]
    assert (asked["preset"], asked["sampler"], asked["evaluations"]) == ("turbo", "learned", 3)
    # The UNet of the class draws another picture with the same table.
    manifest = json.loads((bundle / "manifest.json").read_text())
    turbo_entry = manifest["presets"]["turbo"]
    own, decoder, in_8_bits = (turbo_entry.pop(name) for name in ("unets", "decoder", "decoder_int8"))
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    sha256 = open_bundle(str(bundle)).sha256
    done = run(*turbo, "--reference", altered(made, tmp_path / "class.safetensors", bundle_sha256=sha256))
    assert (done.returncode, "The check of trajectory" in done.stderr) == (1, True), done.stderr
    turbo_entry |= {"unets": {class_name: own[class_name]}, "decoder": decoder, "decoder_int8": in_8_bits}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with_plans(bundle, class_name, largest=4, preset="turbo")
    facts = {"backend": "tensorrt", "precision": "auto", "bundle_sha256": open_bundle(str(bundle)).sha256}
    on_device = altered(made, tmp_path / "tensorrt.safetensors", **facts)
    done = run(*turbo, "--reference", on_device, program="tests/cyto_bench_rehearsal")
    assert done.returncode == 0, done.stderr


def test_a_wrong_preset_exits_2(bench, class_name, reference, tmp_path):
    made = altered(reference, tmp_path / "turbo.safetensors", preset="turbo")
    for options, words in (
        (["--preset", "fast"], "which the bundle cells has: turbo"),
        (["--preset", "turbo", "--steps", 4], "--steps, too"),
        (["--preset", "turbo"], f"engine reference {CELLS} --class {class_name} --backend openvino --preset turbo"),
        (["--steps", STEPS, "--reference", made], "field preset"),
    ):
        done = bench("--batch", 1, *options)
        assert done.returncode == 2
        assert words in done.stderr
