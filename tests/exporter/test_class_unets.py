"""Classes with LoRAs: a few kilobytes on weights of the bundle, the same pictures, and never pulled from below."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

from engine.bundle.folder import open_bundle
from exporter.computed import fold
from tests.exporter.distilled import distilled, table_of

UNET = "unet/diffusion_pytorch_model.safetensors"
LORA = {"kind": "lora", "name": "sharp", "multiplier": 1.0}


def record(folder, name, adapters):
    """Write the class record of a merged folder."""
    facts = {"prompt": "cyt mast", "origin": "phantom", "pictures": 24, "licence": "CC0", "attribution": "cytosynth"}
    (folder / "class.json").write_text(json.dumps({"class_name": name, **facts, "adapters": adapters}))
    return folder


@pytest.fixture(scope="module")
def merged(whole_path, tmp_path_factory):
    """Merged folders: the base alone, two LoRAs in it, and a LoRA after a hypernetwork."""
    folder = tmp_path_factory.mktemp("merged")
    hypernetwork = whole_path / "merged/cyt_mast"
    adapters = json.loads((hypernetwork / "class.json").read_text())["adapters"]
    plain = record(shutil.copytree(whole_path / "base", folder / "plain"), "plain", [])
    return {
        "plain": plain,
        "sharp": record(distilled(plain, folder / "sharp"), "sharp", [LORA]),
        "soft": record(distilled(plain, folder / "soft", 0.1), "soft", [LORA]),
        "both": record(distilled(hypernetwork, folder / "both"), "both", [*adapters, LORA]),
    }


@pytest.fixture(scope="module")
def bundle(tiny_bundle, merged, in_process, tmp_path_factory):
    """The tiny bundle with these classes."""
    copy = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("loras") / "bundle")
    done = in_process("exporter", "onnx", *merged.values(), "--out", copy)
    assert done.returncode == 0, done.stderr
    for name in ("sharp", "soft", "both"):
        assert f"{name}: " in done.stderr
    assert "plain: 0 weights" not in done.stderr
    return copy


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "bundle")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_class_with_a_lora_adds_its_factors_alone(bundle, tiny_bundle, merged):
    before, after = content(tiny_bundle), content(bundle)
    del before["manifest.json"]
    assert {name: after[name] for name in before} == before
    manifest = manifest_of(bundle)
    classes = manifest["classes"]
    assert manifest["format_version"] == 3
    assert {name for name, entry in classes.items() if "low_rank" in entry} == {"sharp", "soft", "both"}
    assert classes["both"]["weights"] == ["unet.bin", "unet.cyt_mast.bin", "unet.both.bin"]
    assert classes["sharp"]["weights"] == ["unet.bin", "unet.plain.bin", "unet.sharp.bin"]
    changed = {name: value for name, value in load_file(merged["sharp"] / UNET).items() if name.endswith("weight")}
    own = load_file(merged["plain"] / UNET)
    whole = sum(value.size * 2 for name, value in changed.items() if not np.array_equal(value, own[name]))
    assert len(after["unet.sharp.bin"]) < whole / 4
    opened = open_bundle(str(bundle))
    opened.verify(opened.manifest.files)
    assert opened.manifest.classes["sharp"].low_rank == classes["sharp"]["low_rank"]


def test_the_computed_weights_are_those_of_the_merged_folder_to_the_precision_of_float16(bundle, merged):
    """As the engine folds them. Matrices of linear layers are transposed and have numbers for names."""
    graph = onnx.load(bundle / "unet.both.onnx")
    fold(graph)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    wanted = {f"unet.{name}": value for name, value in load_file(merged["both"] / UNET).items()}
    kernels = [name for name in found if name.endswith("conv1.weight")]
    assert len(kernels) > 5
    for name in kernels:
        error = found[name].astype(np.float64) - wanted[name]
        assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(wanted[name])


@pytest.mark.parametrize("name", ["sharp", "both"])
def test_every_runtime_agrees_with_the_merged_model(name, bundle, merged, in_process):
    done = in_process("exporter", "verify", bundle, "--merged", merged[name], "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_export_changes_no_byte_and_another_one_no_other_class(copy, merged, in_process, tmp_path):
    before = content(copy)
    done = in_process("exporter", "onnx", merged["sharp"], merged["plain"], "--out", copy)
    assert done.returncode == 0, done.stderr
    assert content(copy) == before
    other = shutil.copytree(merged["plain"], tmp_path / "plain")
    save_file({name: 1.01 * value for name, value in load_file(other / UNET).items()}, other / UNET)
    done = in_process("exporter", "onnx", other, "--out", copy)
    assert done.returncode == 0, done.stderr
    after = content(copy)
    assert {name: after[name] for name in before if name not in ("manifest.json", "unet.plain.onnx")} == {
        name: value for name, value in before.items() if name not in ("manifest.json", "unet.plain.onnx")
    }
    assert manifest_of(copy)["classes"]["plain"]["unet"] == "unet.plain.2.onnx"
    # The factors of the other classes need the earlier weights until the last such class is gone.
    for name in ("sharp", "soft"):
        whole = record(shutil.copytree(other, tmp_path / name), name, [{**LORA, "kind": "unet"}])
        done = in_process("exporter", "onnx", whole, "--out", copy)
        assert done.returncode == 0, done.stderr
    assert not (copy / "unet.plain.bin").exists()
    manifest = manifest_of(copy)
    assert manifest["classes"]["sharp"]["unet"] == manifest["classes"]["plain"]["unet"]
    assert manifest["format_version"] == 3, "the class both still has factors"
    opened = open_bundle(str(copy))
    opened.verify(opened.manifest.files)


def test_a_bundle_without_factors_has_the_earlier_version_again(copy, merged, in_process):
    manifest = manifest_of(copy)
    manifest["classes"] = {name: manifest["classes"][name] for name in ("plain", "cyt_mast")}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    done = in_process("exporter", "onnx", merged["plain"], "--out", copy)
    assert done.returncode == 0, done.stderr
    assert manifest_of(copy)["format_version"] == 2
    assert not (copy / "unet.sharp.bin").exists()


@pytest.mark.slow
def test_8_bit_graphs_presets_and_drift_read_classes_with_factors(copy, merged, in_process, tmp_path):
    manifest = manifest_of(copy)
    manifest["classes"] = {name: manifest["classes"][name] for name in ("plain", "sharp")}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    done = in_process("exporter", "int8", copy, "--pictures", 1)
    assert done.returncode == 0, done.stderr
    done = in_process("exporter", "verify", copy, "--merged", merged["sharp"], "--json")
    assert done.returncode == 0, done.stdout
    assert any("int8" in row["runtime"] for row in json.loads(done.stdout)["rows"])
    table = table_of(tmp_path / "turbo.json", open_bundle(str(copy)).manifest)
    turbo = distilled(merged["sharp"], tmp_path / "turbo", 0.2)
    done = in_process("exporter", "preset", copy, "turbo", turbo, "--table", table)
    assert done.returncode == 0, done.stderr
    assert "weights of low rank" in done.stderr
    done = in_process("exporter", "verify", copy, "--merged", turbo, "--preset", "turbo", "--json")
    assert done.returncode == 0, done.stdout
    done = in_process("exporter", "drift", copy, "--class", "sharp", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["relative_error"] < 0.01
    done = in_process("exporter", "inspect", copy, "--json")
    assert {one["name"]: one["low_rank"] for one in json.loads(done.stdout)["classes"]}["sharp"] > 0
