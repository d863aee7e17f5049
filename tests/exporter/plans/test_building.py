"""TensorRT for RTX builds real plans for the RTX A6000 here, without a GPU: what can be checked of them is."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from engine.bundle.folder import open_bundle
from engine.bundle.plans import choose_plans, wanted_graphs
from engine.errors import RequestError
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

if sys.platform == "darwin":
    pytest.skip("needs Linux or Windows: TensorRT for RTX does not exist for macOS", allow_module_level=True)
trt = importlib.import_module("tensorrt_rtx")
CELLS = ROOT / "engine/bundles/cells"
BUILD = ["tensorrt", "--gpu", "a6000", "--batch", "1,8,16"]


@pytest.fixture(scope="module")
def built(command, tmp_path_factory):
    """The embedded bundle with plans of one class, and what the command said."""
    bundle = shutil.copytree(CELLS, tmp_path_factory.mktemp("plans") / "cells")
    done = command("exporter", *BUILD, bundle, "--class", "cyt_mast")
    assert done.returncode == 0, done.stderr
    return bundle, done


def plan_folder(bundle):
    (folder,) = (bundle / "plans").iterdir()
    return folder


def report_of(bundle, graph):
    return json.loads((plan_folder(bundle) / f"{graph}.report.json").read_text())


def test_the_key_is_the_gpu_flavour_version_shapes_and_content(built):
    bundle, done = built
    folder = plan_folder(bundle)
    assert folder.name == f"sm86-rtx-{trt.__version__}-b1-8-16-128x128"
    record = json.loads((folder / "plan.json").read_text())
    assert record["compute_capability"] == "8.6"
    assert record["version"] == trt.__version__
    assert set(record["plans"]) == {"unet.cyt_mast.onnx", "vae_decoder.onnx", "vae_encoder.onnx", "step.onnx"}
    for plan in record["plans"].values():
        content = (folder / plan["file"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (plan["sha256"], plan["bytes"])
    for phase in ("building", "Building engine", "MB in"):
        assert f"unet.cyt_mast.onnx: {phase}" in done.stderr or phase in done.stderr


CONTRACT = {
    "unet.cyt_mast.onnx": (
        {"latents": [-1, 16, -1, -1], "time_features": [-1, 96], "encoder_hidden_states": [-1, 16, 64]},
        {"eps": ("float", [-1, 16, -1, -1])},
    ),
    "vae_decoder.onnx": (
        {"latents": [-1, 16, -1, -1], "noise": [-1, 13, -1, -1]},
        {"images": ("uint8", [-1, -1, -1, 3]), "finite": ("bool", [-1])},
    ),
    "vae_encoder.onnx": (
        {"images": [-1, -1, -1, 3]},
        {"latents": ("float", [-1, 16, -1, -1])},
    ),
    "step.onnx": (
        {**{name: [-1, 16, -1, -1] for name in ("x", "eps_cond", "eps_uncond", "D_prev", "z")}, "row": [8]},
        {"x_next": ("float", [-1, 16, -1, -1]), "D": ("float", [-1, 16, -1, -1])},
    ),
}


@pytest.mark.parametrize("graph", CONTRACT)
def test_the_parsed_network_has_the_contracts_inputs_and_outputs(graph, built):
    inputs, outputs = CONTRACT[graph]
    report = report_of(built[0], graph)
    assert {value["name"]: value["shape"] for value in report["inputs"]} == inputs
    assert {value["dtype"] for value in report["inputs"]} == {"uint8" if "encoder" in graph else "float"}
    assert {value["name"]: (value["dtype"], value["shape"]) for value in report["outputs"]} == outputs
    assert report["header"]["diagnostics"] == 0
    assert any("Memory" in line for line in report["builder_memory"])


def test_every_convolution_product_and_attention_is_fp16_and_normalisation_is_not(built):
    kinds = {}
    for graph in ("unet.cyt_mast.onnx", "vae_decoder.onnx", "vae_encoder.onnx"):
        for layer in report_of(built[0], graph)["layers"]:
            kinds.setdefault((layer["type"], graph == "vae_decoder.onnx"), set()).update(layer["dtypes"])
    kinds_of_float = {kind for (kind, _), found in kinds.items() if "float" in found}
    for kind in ("CONVOLUTION", "ATTENTION_INPUT", "ATTENTION_OUTPUT", "MATRIX_MULTIPLY"):
        assert kinds[kind, False] == {"half"}, kind
    assert kinds["CONVOLUTION", True] == {"half"}
    # The decoder's only products are those of its blocks of JPEG, which round coefficients.
    assert kinds["MATRIX_MULTIPLY", True] == {"float"}
    # The named exceptions: normalisation in FP32, and what stands around it; whole numbers are shapes.
    assert kinds["NORMALIZATION", False] == kinds["NORMALIZATION", True] == {"float"}
    # The activation is the decoder's clamp of the finished picture.
    beside = {"CONSTANT", "CAST", "ELEMENTWISE", "SHUFFLE", "UNARY", "REDUCE", "SELECT", "IDENTITY", "UNSQUEEZE"}
    beside.add("ACTIVATION")
    # The refiner's averages of the noise: a float16 sum over a picture overflows.
    beside |= {"POOLING", "SLICE", "CONCATENATION"}
    # The blocks of JPEG: matrices of the size of the picture, and the steps, once for each block.
    beside |= {"MATRIX_MULTIPLY"}
    assert kinds_of_float <= {*beside, "NORMALIZATION"}
    weights = sum((CELLS / name).stat().st_size for name in ("unet.bin", "unet.cyt_mast.bin"))
    assert (plan_folder(built[0]) / "unet.cyt_mast.onnx.plan").stat().st_size > 0.9 * weights


def test_the_profile_covers_one_unguided_to_sixteen_guided_pictures(built):
    profile = report_of(built[0], "unet.cyt_mast.onnx")["profile"]["latents"]
    assert [profile[0][0], profile[2][0]] == [1, 32]
    assert all(shape[1:] == [16, 16, 16] for shape in profile)
    pictures = report_of(built[0], "vae_encoder.onnx")["profile"]["images"]
    assert pictures == [[1, 128, 128, 3], [8, 128, 128, 3], [16, 128, 128, 3]]


def test_a_plan_is_inspected_without_a_gpu(built, in_process):
    plan = plan_folder(built[0]) / "unet.cyt_mast.onnx.plan"
    done = in_process("exporter", "inspect", plan)
    assert done.returncode == 0, done.stderr
    for word in ("compute capability 8.6", "32 x 16 x 16 x 16", "convolution", "float16"):
        assert word in done.stdout
    done = in_process("exporter", "inspect", built[0])
    assert plan_folder(built[0]).name in done.stdout


def choose(bundle_folder, **changes):
    bundle = open_bundle(str(bundle_folder))
    asked = {
        "flavour": "rtx",
        "version": trt.__version__,
        "compute_capability": "8.6",
        "graphs": wanted_graphs(bundle, ["cyt_mast"], encoder=True),
        "batch_size": 8,
        "picture_size": (128, 128),
    }
    return choose_plans(bundle, **{**asked, **changes})


def test_the_engine_opens_the_folder_and_refuses_it_elsewhere(built, tmp_path):
    bundle = built[0]
    folder = choose(bundle)
    for graph in wanted_graphs(open_bundle(str(bundle)), ["cyt_mast"], encoder=True):
        assert folder.open(graph)[:4]
    for changes in (
        {"compute_capability": "8.9"},
        {"version": "1.0"},
        {"flavour": "tensorrt"},
        {"batch_size": 17},
        {"picture_size": (256, 256)},
    ):
        with pytest.raises(RequestError, match="exporter tensorrt"):
            choose(bundle, **changes)
    other = shutil.copytree(bundle, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["files"]["unet.bin"]["sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RequestError, match="has changed since"):
        choose(other)


def test_another_class_leaves_the_first_ones_plan_alone(built, in_process, tmp_path):
    bundle = shutil.copytree(built[0], tmp_path / "cells")
    before = {path.name: path.read_bytes() for path in plan_folder(bundle).glob("*.plan")}
    done = in_process("exporter", *BUILD, bundle, "--class", "cyt_mast", "--class", "basophil")
    assert done.returncode == 0, done.stderr
    assert "unet.cyt_mast.onnx" not in done.stderr
    assert "unet.basophil.onnx: building" in done.stderr
    after = {path.name: path.read_bytes() for path in plan_folder(bundle).glob("*.plan")}
    assert {name: after[name] for name in before} == before
    assert set(json.loads((plan_folder(bundle) / "plan.json").read_text())["plans"]) == {
        "unet.cyt_mast.onnx",
        "unet.basophil.onnx",
        "vae_decoder.onnx",
        "vae_encoder.onnx",
        "step.onnx",
    }


WRONG = {
    "an unknown GPU": (["--gpu", "a7000"], "smXX"),
    "a GPU that this TensorRT lacks": (["--gpu", "h100"], "sm86"),
    "classic TensorRT without a GPU": (["--flavour", "tensorrt"], "no GPU"),
    "refitting without a GPU": (["--refit"], "no GPU"),
    "an unknown flavour": (["--flavour", "x"], "rtx"),
    "an unknown class": (["--class", "nobody"], "nobody"),
    "no batch": (["--batch", "0"], "--batch"),
    "no number": (["--batch", "1,x"], "1,x"),
    "a size that the model does not take": (["--size", "100x128"], "--width"),
    "no size": (["--size", "128"], "WIDTHxHEIGHT"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_exit_2_and_write_nothing(case, in_process, bundle_copy):
    options, word = WRONG[case]
    done = in_process("exporter", "tensorrt", bundle_copy, *options)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert not (bundle_copy / "plans").exists()


def test_a_full_disk_is_said_before_and_while_it_is_written(in_process, bundle_copy, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    done = in_process("exporter", *BUILD, bundle_copy)
    assert done.returncode == 2
    assert "MB free" in done.stderr
    monkeypatch.undo()
    write = Path.write_bytes

    def full(path, content):
        if ".plan" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    done = in_process("exporter", *BUILD, bundle_copy)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert not list((bundle_copy / "plans").iterdir())


def test_a_build_that_was_cut_off_goes_on_with_what_is_missing(in_process, stochastic, tmp_path, monkeypatch):
    bundle_copy = shutil.copytree(stochastic / "bundle", tmp_path / "bundle")
    write = Path.write_bytes

    def cut(path, content):
        if path.name.startswith("unet.cyt_nep_mast"):
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", cut)
    assert in_process("exporter", *BUILD, bundle_copy).returncode == 1
    monkeypatch.undo()
    done = in_process("exporter", *BUILD, bundle_copy)
    assert done.returncode == 0, done.stderr
    assert "unet.cyt_mast.onnx: building" not in done.stderr
    assert "unet.cyt_nep_mast.onnx: building" in done.stderr
    decoder = report_of(bundle_copy, "vae_decoder.onnx")
    assert decoder["profile"] == {
        "latents": [[1, 4, 8, 8], [8, 4, 8, 8], [16, 4, 8, 8]],
        "noise": [[1, 11, 16, 16], [8, 11, 16, 16], [16, 11, 16, 16]],
    }
    assert {layer["type"] for layer in decoder["layers"] if "half" in layer["dtypes"]} >= {"CONVOLUTION"}


def test_a_folder_of_plans_that_is_a_file_is_an_error(in_process, bundle_copy):
    (bundle_copy / "plans").write_text("mine")
    done = in_process("exporter", *BUILD, bundle_copy)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (bundle_copy / "plans").read_text() == "mine"
