"""UNets of a preset: the same on every runtime, small beside those of the classes, refused if they do not suit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from tests.exporter.distilled import distilled, table_of

CLASSES = ("cyt_mast", "cyt_nep_mast")


@pytest.fixture(scope="module")
def merged(whole_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled")
    return {name: distilled(whole_path / "merged" / name, folder / name) for name in CLASSES}


@pytest.fixture(scope="module")
def turbo(tiny_bundle, merged, in_process, tmp_path_factory):
    """The tiny bundle with the preset turbo, whose UNets are those of `merged`, and slow, its table with the UNets of
    the classes."""
    folder = tmp_path_factory.mktemp("turbo")
    bundle = shutil.copytree(tiny_bundle, folder / "bundle")
    table = table_of(folder / "turbo.json", open_bundle(str(bundle)).manifest)
    assert in_process("exporter", "preset", bundle, "slow", "--table", table).returncode == 0
    done = in_process("exporter", "preset", bundle, "turbo", *merged.values(), "--table", table)
    assert done.returncode == 0, done.stderr
    assert "weights of low rank (rank 2 to 2), 0 whole" in done.stderr
    return bundle


@pytest.fixture
def turbo_copy(turbo, tmp_path):
    return shutil.copytree(turbo, tmp_path / "bundle")


def manifest_of(bundle):
    return json.loads((bundle / "manifest.json").read_text())


def test_the_files_of_the_bundle_stay_and_the_new_ones_are_small(turbo, tiny_bundle):
    before, after = manifest_of(tiny_bundle), manifest_of(turbo)
    assert after["files"].items() >= before["files"].items()
    assert (before["format_version"], after["format_version"]) == (2, 3)
    new = after["files"].keys() - before["files"].keys()
    assert new == {"preset.turbo.bin", *(f"preset.turbo.{name}.onnx" for name in CLASSES)}
    assert after["files"]["preset.turbo.bin"]["bytes"] < after["files"]["unet.bin"]["bytes"] / 4
    for name in CLASSES:
        graph, own = (onnx.load(turbo / kind.format(name)) for kind in ("preset.turbo.{}.onnx", "unet.{}.onnx"))
        assert sum(node.op_type == "Gemm" for node in graph.graph.node) > sum(
            node.op_type == "Gemm" for node in own.graph.node
        )
        assert (turbo / f"preset.turbo.{name}.onnx").stat().st_size < (turbo / f"unet.{name}.onnx").stat().st_size
    bundle = open_bundle(str(turbo))
    bundle.verify(bundle.manifest.files)


def test_every_runtime_agrees_with_the_merged_model(turbo, merged, whole_path, in_process):
    done = in_process("exporter", "verify", turbo, "--merged", merged["cyt_mast"], "--preset", "turbo", "--json")
    assert done.returncode == 0, done.stdout
    rows = json.loads(done.stdout)["rows"]
    assert {row["runtime"].split()[0] for row in rows} >= {"openvino", "onnxruntime"}
    assert all(len(row["by_sigma"]) == 3 for row in rows)
    # The UNet of the class is another one.
    done = in_process("exporter", "verify", turbo, "--merged", merged["cyt_mast"], "--preset", "slow", "--json")
    assert done.returncode == 1


def test_pictures_say_which_unet_drew_them_and_a_run_goes_on_with_no_other(turbo, in_process, tmp_path):
    asked = ("engine", "generate", "--bundle", turbo, "--class", "cyt_mast", "--n", 1, "--threads", 1)
    texts, pixels = {}, {}
    for name in ("slow", "turbo"):
        done = in_process(*asked, "--preset", name, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / name / "cyt_mast/000000.png") as picture:
            texts[name], pixels[name] = json.loads(picture.text["cytosynth"]), np.array(picture)
    assert not np.array_equal(pixels["slow"], pixels["turbo"])
    assert texts["turbo"]["plan_sha256"] == texts["slow"]["plan_sha256"]
    manifest = open_bundle(str(turbo)).manifest
    assert texts["turbo"]["unet_sha256"] == manifest.unets_sha256(["cyt_mast"], "turbo")
    assert "unet_sha256" not in texts["slow"]
    refused = in_process(*asked, "--preset", "turbo", "--out", tmp_path / "slow")
    assert refused.returncode == 2
    assert "unets_sha256 None in the existing run" in refused.stderr
    like = ("engine", "generate", "--like", tmp_path / "turbo/cyt_mast/000000.png", "--bundle", turbo)
    done = in_process(*like, "--out", tmp_path / "like", "--threads", 1)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "like/cyt_mast/000000.png") as picture:
        assert np.array_equal(np.array(picture), pixels["turbo"])


def test_a_class_without_a_unet_of_the_preset_is_refused_by_name(bundle_copy, merged, in_process, tmp_path):
    table = table_of(tmp_path / "turbo.json", open_bundle(str(bundle_copy)).manifest)
    done = in_process("exporter", "preset", bundle_copy, "turbo", merged["cyt_mast"], "--table", table)
    assert done.returncode == 0, done.stderr
    asked = ("engine", "generate", "--bundle", bundle_copy, "--n", 1, "--preset", "turbo", "--out", tmp_path / "out")
    done = in_process(*asked, "--class", "all")
    assert done.returncode == 2
    assert "the class cyt_nep_mast, of which this preset has no UNet" in done.stderr
    assert not (tmp_path / "out").exists()
    # A preset of the same name without UNets takes the files along.
    assert in_process("exporter", "preset", bundle_copy, "turbo", "--table", table).returncode == 0
    assert manifest_of(bundle_copy)["format_version"] == 2
    assert not list(bundle_copy.glob("preset.*"))


def prompt(folder):
    record = json.loads((folder / "class.json").read_text())
    (folder / "class.json").write_text(json.dumps({**record, "prompt": "another"}))


def class_name(folder):
    record = json.loads((folder / "class.json").read_text())
    (folder / "class.json").write_text(json.dumps({**record, "class_name": "another"}))


def noise(folder):
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "beta_end": 0.02}))


def words(folder):
    path = folder / "text_encoder/model.safetensors"
    save_file({name: 1.5 * value for name, value in load_file(path).items()}, path)


WRONG = {
    "the prompt": (prompt, "for the preset, prompt"),
    "the class": (class_name, "The class another of"),
    "the noise schedule": (noise, "for the preset, noise schedule"),
    "the text encoder": (words, "for the preset, prompt embeddings"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_folder_that_does_not_suit_the_bundle_changes_nothing(case, merged, bundle_copy, in_process, tmp_path):
    change, said = WRONG[case]
    change(folder := shutil.copytree(merged["cyt_mast"], tmp_path / "merged"))
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    table = table_of(tmp_path / "turbo.json", open_bundle(str(bundle_copy)).manifest)
    done = in_process("exporter", "preset", bundle_copy, "turbo", folder, "--table", table)
    assert done.returncode == 2
    assert said in done.stderr
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir()} == before


def test_unets_need_a_table_and_one_folder_per_class(merged, bundle_copy, in_process, tmp_path):
    folder, table = merged["cyt_mast"], table_of(tmp_path / "turbo.json", open_bundle(str(bundle_copy)).manifest)
    for options, said in ((["--steps", 3], "no --table"), ([folder, "--table", table], "The class cyt_mast")):
        done = in_process("exporter", "preset", bundle_copy, "turbo", folder, *options)
        assert done.returncode == 2
        assert said in done.stderr


def test_the_files_that_a_request_needs_are_checked_and_no_others(turbo_copy, in_process, tmp_path):
    """The preset turbo needs its own UNets, and the embeddings of the class."""
    bundle = open_bundle(str(turbo_copy))
    path = turbo_copy / "preset.turbo.bin"
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    asked = ("engine", "generate", "--bundle", turbo_copy, "--class", "cyt_mast", "--n", 1, "--preset", "turbo")
    done = in_process(*asked, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "preset.turbo.bin" in done.stderr
    for preset in (None, "slow"):
        bundle.verify_for(CLASSES, preset)
    path.write_bytes(content)
    bundle.verify_for(CLASSES, "turbo")
    path = turbo_copy / "context.cyt_mast.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    for preset in (None, "turbo"):
        with pytest.raises(RequestError, match="context"):
            bundle.verify_for(["cyt_mast"], preset)


def test_a_class_whose_weights_change_loses_its_unet_of_the_preset(turbo_copy, merged, in_process):
    """The UNet of the preset is a change of these weights. Exported anew as it was, the class keeps it."""
    done = in_process("exporter", "onnx", merged["cyt_mast"], "--out", turbo_copy)
    assert done.returncode == 0, done.stderr
    assert "warning: cyt_mast: the preset turbo loses its UNet" in done.stderr
    bundle = open_bundle(str(turbo_copy))
    assert list(bundle.manifest.presets["turbo"].unets) == ["cyt_nep_mast"]
    assert not (turbo_copy / "preset.turbo.cyt_mast.onnx").exists()
    bundle.verify(bundle.manifest.files)


@pytest.mark.slow
def test_8_bit_graphs_are_written_of_the_unets_of_a_preset(turbo_copy, merged, in_process):
    manifest = manifest_of(turbo_copy)
    for group in (manifest["classes"], manifest["presets"]["turbo"]["unets"]):
        del group["cyt_nep_mast"]
    (turbo_copy / "manifest.json").write_text(json.dumps(manifest))
    done = in_process("exporter", "int8", turbo_copy)
    assert done.returncode == 0, done.stderr
    assert "preset.turbo.cyt_mast.int8.onnx: eps differs by 0." in done.stdout
    bundle = open_bundle(str(turbo_copy))
    assert bundle.manifest.graphs("cyt_mast", "int8", "turbo")[0] == "preset.turbo.cyt_mast.int8.onnx"
    places = [
        {
            str(tensor.external_data)
            for tensor in onnx.load(turbo_copy / name, load_external_data=False).graph.initializer
        }
        for name in ("preset.turbo.cyt_mast.onnx", "preset.turbo.cyt_mast.int8.onnx")
    ]
    assert places[0] <= places[1]
    done = in_process("exporter", "verify", turbo_copy, "--merged", merged["cyt_mast"], "--preset", "turbo", "--json")
    assert done.returncode == 0, done.stdout
    assert any("int8" in row["runtime"] for row in json.loads(done.stdout)["rows"])


@pytest.mark.slow
def test_plans_of_a_preset_stand_beside_those_of_the_classes(turbo_copy, in_process):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    asked = ("exporter", "tensorrt", turbo_copy, "--class", "cyt_mast", "--gpu", "sm86", "--batch", 1)
    for options in ((), ("--preset", "turbo")):
        done = in_process(*asked, *options)
        assert done.returncode == 0, done.stderr
    (folder,) = (turbo_copy / "plans").iterdir()
    plans = json.loads((folder / "plan.json").read_text())["plans"]
    assert {"unet.cyt_mast.onnx", "preset.turbo.cyt_mast.onnx"} <= plans.keys()
    stale = in_process("exporter", "plans", "list", turbo_copy)
    assert "stale" not in stale.stdout
