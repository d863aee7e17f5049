"""cpp_bench on the embedded bundle and the tiny one. `make soak` builds and runs it with sanitizers, too."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from engine.bundle.folder import open_bundle
from engine.version import __version__
from tests.conftest import ROOT
from tests.cpp_bench.conftest import CELLS, STEPS, altered, reference_of, with_plans

pytestmark = pytest.mark.slow


def test_ctest(built):
    done = subprocess.run(["ctest", "--output-on-failure"], cwd=built, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "tests passed" in done.stdout


def test_the_golden_values_are_the_engines():
    golden = ROOT / "tests/golden"
    spec = importlib.util.spec_from_file_location("make_cpp_tables", golden / "make_cpp_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def flat(value):
        if isinstance(value, dict):
            return [number for name in sorted(value) for number in (name, *flat(value[name]))]
        return [number for item in value for number in flat(item)] if isinstance(value, list) else [value]

    found, kept = flat(module.make_record()), flat(json.loads((golden / "cpp_tables.json").read_text()))
    assert len(found) == len(kept) > 1000
    for one, other in zip(found, kept, strict=True):
        assert one == other if isinstance(one, str) else one == pytest.approx(other, rel=1e-9, abs=1e-12)


def test_the_record_of_a_trajectory(bench, reference, class_name, tmp_path):
    options = ["--batch", "1,3", "--steps", STEPS, "--streams", 2, "--iterations", 2, "--warmup", 1]
    done = bench(*options, "--reference", reference, "--json", tmp_path / "record.json")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "record.json").read_text()
    assert str(tmp_path) not in text
    record = json.loads(text)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert record["commit"].removesuffix("-dirty") == (commit or "unknown")
    assert (record["class"], record["bundle_sha256"]) == (class_name, open_bundle(str(CELLS)).sha256)
    assert record["check"]["reference_sha256"] == hashlib.sha256(reference.read_bytes()).hexdigest()
    assert record["check"]["trajectory"]["deviation"] <= record["check"]["trajectory"]["tolerance"] == 1e-3
    assert record["check"]["runtime"] == record["check"]["reference_runtime"]
    assert record["versions"].keys() == {"cyto_bench", "runtime", "compiler", "build"}
    assert record["versions"]["cyto_bench"] == __version__
    assert record["request"]["num_inference_steps"] == STEPS
    assert [result["batch"] for result in record["results"]] == [1, 3]
    for result in record["results"]:
        samples = result["samples_ms"]
        assert len(samples) == result["iterations"] == 4
        assert result["latency_ms"]["p50"] == pytest.approx(np.median(samples))
        assert result["latency_ms"]["p90"] == pytest.approx(np.quantile(samples, 0.9))
        assert result["pictures_per_second"] == pytest.approx(4 * result["batch"] / result["wall_s"])
        # Two batches in flight: the window is shorter than their times one after the other.
        assert max(samples) * 1e-3 < result["wall_s"] < sum(samples) * 1e-3
        assert result["deviation"] < 0.1
        inside = result["parts"]["graphs"]["samples_ms"]
        assert all(0 < part < whole for part, whole in zip(inside, samples, strict=True))
        assert result["cpu_s"] > 0
    assert f"{record['results'][1]['pictures_per_second']:.2f}" in done.stdout


@pytest.fixture(scope="session")
def reference_of_20_steps(tmp_path_factory, class_name):
    return reference_of(tmp_path_factory.mktemp("reference"), class_name, num_inference_steps=20)


@pytest.mark.parametrize("mode", ["trajectory", "decode"])
def test_8_bits(bench, reference_of_20_steps, tmp_path, mode):
    """The check runs in float32. The timed 8-bit run is close to it, but not equal.

    The test takes 20 steps, because with far fewer an error of the first step stays too large.
    """
    options = ["--batch", 2, "--steps", 20, "--iterations", 1, "--warmup", 0, "--mode", mode, "--precision", "int8"]
    done = bench(*options, "--reference", reference_of_20_steps, "--json", tmp_path / "record.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["check"]["trajectory"]["deviation"] <= 1e-3
    assert record["request"]["precision"] == "int8"
    assert "int8" in record["versions"]["runtime"]
    assert "int8" not in record["check"]["runtime"]
    least, most = (1, 64) if mode == "decode" else (1e-3, 0.3)
    assert least < record["results"][0]["deviation"] < most


def test_8_bits_of_a_bundle_that_has_none(bench, reference, tmp_path):
    bundle = shutil.copytree(CELLS, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["decoder_int8"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    options = ["--batch", 1, "--steps", STEPS, "--precision", "int8", "--reference", reference]
    done = bench(*options, bundle=bundle)
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("--precision int8", "no 8-bit graphs", "python -m exporter int8"))


def test_a_wrong_reference_exits_2(bench, reference, tmp_path):
    for field, value in {"bundle_sha256": "0" * 64, "num_inference_steps": "4", "batch_size": "-1"}.items():
        wrong = altered(reference, tmp_path / "wrong.safetensors", **{field: value})
        done = bench("--batch", 1, "--steps", STEPS, "--reference", wrong)
        assert done.returncode == 2
        assert f"field {field}" in done.stderr
        assert "engine reference" in done.stderr
    content = reference.read_bytes()
    for damaged in (content[:-1], content + b"x", b"", b"\xff" * 100):
        (tmp_path / "wrong.safetensors").write_bytes(damaged)
        done = bench("--batch", 1, "--steps", STEPS, "--reference", tmp_path / "wrong.safetensors")
        assert done.returncode == 2, done.stderr
        assert "wrong.safetensors" in done.stderr


def test_a_damaged_bundle_exits_2(bench, reference, tmp_path):
    bundle = shutil.copytree(CELLS, tmp_path / "bundle")
    weights = bundle / "unet.bin"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    damages = {"SHA-256": lambda: weights.write_bytes(content), "bytes": lambda: weights.write_bytes(content[:-1])}
    damages["no such file"] = weights.unlink
    damages["a link"] = lambda: weights.symlink_to(CELLS / "unet.bin")
    arguments = ["--batch", 1, "--steps", STEPS, "--reference", reference]
    for words, damage in damages.items():
        damage()
        done = bench(*arguments, bundle=bundle)
        assert done.returncode == 2
        assert all(word in done.stderr for word in ("unet.bin", words, "found:", "fix:"))
    (bundle / "manifest.json").write_text("{")
    done = bench(*arguments, bundle=bundle)
    assert done.returncode == 2
    assert "manifest.json" in done.stderr
    assert bench(*arguments, "--json", tmp_path / "absent/record.json").returncode == 2
    assert bench(*arguments, bundle=tmp_path / "absent").returncode == 2


def test_plans_that_do_not_fit_exit_2(bench, class_name, reference, tmp_path, monkeypatch):
    bundle = shutil.copytree(CELLS, tmp_path / "bundle")
    file = altered(reference, tmp_path / "tensorrt.safetensors", backend="tensorrt")

    def refused(*words, batch=1):
        arguments = ["--batch", batch, "--steps", STEPS, "--reference", file]
        done = bench(*arguments, bundle=bundle, program="tests/cyto_bench_rehearsal")
        assert done.returncode == 2, done.stderr
        assert all(word in done.stderr for word in words), done.stderr

    refused("found:    none", "exporter tensorrt", "--gpu sm86 --flavour tensorrt --batch 1")
    folder = with_plans(bundle, class_name, largest=4)
    refused("batch sizes 1 to 4, requested 5", batch=5)
    record = json.loads((folder / "plan.json").read_text())
    for name, value in {"version": "9.9", "compute_capability": "9.0", "flavour": "rtx"}.items():
        (folder / "plan.json").write_text(json.dumps({**record, name: value}))
        refused(f"{value}, here {record[name]}")
    outside = {graph: {**plan, "file": "../../unet.bin"} for graph, plan in record["plans"].items()}
    (folder / "plan.json").write_text(json.dumps({**record, "plans": outside}))
    refused("a plain file name")
    (folder / "plan.json").write_text(json.dumps(record))
    (folder / record["plans"]["step.onnx"]["file"]).write_bytes(b"damaged")
    refused("step.onnx.plan", "SHA-256")
    monkeypatch.setenv("CYTO_NO_GPU", "1")
    refused("no GPU", "nvidia-smi")


@pytest.fixture(scope="session")
def tiny_reference(tmp_path_factory, tiny_bundle):
    return reference_of(tmp_path_factory.mktemp("reference"), "cyt_mast", tiny_bundle)


def test_a_reference_brings_the_table_of_its_sampler(bench, tiny_bundle, tmp_path):
    """Two evaluations per step on the CPU. A device refuses what its step graph cannot do in one call per row."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    made = reference_of(tmp_path, "cyt_mast", bundle, sampler="heun")
    options = ["--batch", 1, "--steps", STEPS, "--iterations", 1, "--warmup", 0]
    run = functools.partial(bench, *options, bundle=bundle, of="cyt_mast")
    done = run("--reference", made, "--json", tmp_path / "record.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["check"]["trajectory"]["deviation"] <= 1e-3
    asked = record["request"]
    assert (asked["sampler"], asked["num_inference_steps"], asked["evaluations"]) == ("heun", STEPS, 2 * STEPS - 1)
    with_plans(bundle, "cyt_mast", largest=4)
    on_device = altered(made, tmp_path / "tensorrt.safetensors", backend="tensorrt", precision="auto")
    done = run("--reference", on_device, program="tests/cyto_bench_rehearsal")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("several calls", "such as dpmpp_2m", "--backend openvino"))


def test_a_call_of_the_unet(bench, tiny_bundle, tiny_reference, tmp_path):
    options = ["--batch", 2, "--steps", STEPS, "--iterations", 2, "--warmup", 0, "--mode", "unet", "--precision", "f32"]
    words = ["--reference", tiny_reference, "--json", tmp_path / "record.json"]
    done = bench(*options, *words, bundle=tiny_bundle, of="cyt_mast")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    (result,) = record["results"]
    assert result["mode"] == "unet"
    assert result["steps_per_second"] > 0
    assert "deviation" not in result
    assert "decode" not in record["check"]


@pytest.mark.parametrize("program", ["cyto_bench", "tests/cyto_bench_rehearsal"])
def test_a_decoder_that_draws_grain_gets_the_noise_of_the_reference(bench, stochastic, tmp_path, program):
    """On OpenVINO, and on the stand-in of TensorRT. Without the noise nothing is timed."""
    bundle = shutil.copytree(stochastic / "bundle", tmp_path / "bundle")
    made = reference_of(tmp_path, "cyt_mast", bundle)
    arithmetic = ["--precision", "f32"]
    if program != "cyto_bench":
        arithmetic = []
        with_plans(bundle, "cyt_mast", largest=4)
        made = altered(made, tmp_path / "tensorrt.safetensors", backend="tensorrt", precision="auto")
    options = ["--batch", 2, "--steps", STEPS, "--iterations", 1, "--mode", "decode", "--json", tmp_path / "r.json"]
    run = functools.partial(bench, *options, *arithmetic, bundle=bundle, program=program, of="cyt_mast")
    done = run("--reference", made)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["check"]["decode"]["deviation"] <= 1
    for result in record["results"]:
        assert (result["mode"], "steps_per_second" in result) == ("decode", False)
        assert result["deviation"] <= (1 if arithmetic else 8)

    def other_noise(tensors):
        tensors["decoder_noise"] = -tensors["decoder_noise"]

    done = run("--reference", altered(made, tmp_path / "other.safetensors", other_noise))
    assert (done.returncode, "The check of decode" in done.stderr) == (1, True), done.stderr
    done = run("--reference", altered(made, tmp_path / "none.safetensors", lambda t: t.pop("decoder_noise")))
    assert (done.returncode, "tensor decoder_noise" in done.stderr) == (2, True), done.stderr


def test_the_engines_default_reference_is_found(bench, in_process, tiny_bundle, tmp_path, monkeypatch):
    """The engine and cyto_bench use the same default file name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bench = functools.partial(bench, bundle=tiny_bundle, of="cyt_mast")
    options = ["--steps", 1, "--guidance-scale", 1.0625]
    bare = bench("--batch", 1, *options)
    assert bare.returncode == 2
    assert "no such file" in bare.stderr
    # The fix is a command that solves the problem.
    fix = re.search(r"fix: .*?: engine (.*)", bare.stderr)[1].split()
    done = in_process("engine", *fix)
    assert done.returncode == 0, done.stderr
    done = bench("--batch", 1, *options, "--iterations", 1, "--warmup", 0)
    assert done.returncode == 0, done.stderr


def test_a_trajectory_that_differs_is_not_timed(bench, tiny_bundle, tiny_reference, tmp_path):
    def change(tensors):
        tensors["latents"] *= np.float32(1.002)

    wrong = altered(tiny_reference, tmp_path / "wrong.safetensors", change)
    arguments = ["--batch", 1, "--steps", STEPS, "--reference", wrong, "--json", tmp_path / "record.json"]
    done = bench(*arguments, bundle=tiny_bundle, of="cyt_mast")
    assert done.returncode == 1
    assert "a deviation of 0.00199" in done.stderr
    assert "nothing was timed" in done.stderr
    assert not (tmp_path / "record.json").exists()


def test_a_picture_that_differs_is_not_timed(bench, tiny_bundle, tiny_reference, tmp_path):
    def change(tensors):
        tensors["image"][3, 4, 1] += 5

    wrong = altered(tiny_reference, tmp_path / "wrong.safetensors", change)
    arguments = ["--batch", 1, "--steps", STEPS, "--mode", "decode", "--reference", wrong]
    done = bench(*arguments, bundle=tiny_bundle, of="cyt_mast")
    assert done.returncode == 1
    assert "The check of decode" in done.stderr


@pytest.mark.parametrize(("steps", "scale", "batches"), [(2, 2.0, (1, 3)), (3, 1.0, (2,))], ids=["2-2.0", "3-1.0"])
def test_the_loop_of_tensorrt_without_a_gpu(bench, tiny_bundle, tmp_path, steps, scale, batches):
    """A stand-in for TensorRT and CUDA computes the same graphs: an even and an odd number of steps, unguided ones."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with_plans(bundle, "cyt_mast", largest=4)
    made = reference_of(tmp_path, "cyt_mast", bundle, num_inference_steps=steps, guidance_scale=scale)
    reference = altered(made, tmp_path / "tensorrt.safetensors", backend="tensorrt", precision="auto")
    arguments = ["--reference", reference, "--steps", steps, "--guidance-scale", scale, "--json", tmp_path / "r.json"]
    options = ["--batch", ",".join(map(str, batches)), "--iterations", 2, "--warmup", 1, "--streams", 2]
    done = bench(*options, *arguments, bundle=bundle, program="tests/cyto_bench_rehearsal", of="cyt_mast")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["machine"]["gpu"] == "a stand-in for a GPU"
    expected = [(batch, cuda_graph) for batch in batches for cuda_graph in (False, True)]
    assert [(result["batch"], result["cuda_graph"]) for result in record["results"]] == expected
    for result in record["results"]:
        assert result["deviation"] < 1e-4
        assert result["parts"].keys() == {"enqueue", "h2d", "compute", "d2h"}
        for part in result["parts"].values():
            assert len(part["samples_ms"]) == result["iterations"] == 4


def test_a_call_of_the_unet_on_tensorrt_without_a_gpu(bench, tiny_bundle, tiny_reference, tmp_path):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with_plans(bundle, "cyt_mast", largest=4)
    file = altered(tiny_reference, tmp_path / "tensorrt.safetensors", backend="tensorrt")
    options = ["--batch", 2, "--steps", STEPS, "--iterations", 1, "--warmup", 0, "--mode", "unet", "--reference", file]
    done = bench(*options, bundle=bundle, program="tests/cyto_bench_rehearsal", of="cyt_mast")
    assert done.returncode == 0, done.stderr
