"""The bundle: valid graphs, weights by content, classes that leave each other alone, parity with torch."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from exporter import graphs
from tests.trainer.lora.examples import lora_file
from trainer.adapters.unet_weights import UnetWeights, write_unet_weights
from trainer.base.base import open_base


def locations(path) -> set[str]:
    """The external files that a graph names."""
    model = onnx.load(path, load_external_data=False)
    entries = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    return {entry.value for entry in entries if entry.key == "location"}


def test_what_merging_did_not_change_is_stored_once(tiny_bundle):
    sizes = {
        name: entry["bytes"] for name, entry in json.loads((tiny_bundle / "manifest.json").read_text())["files"].items()
    }
    for name in ("cyt_mast", "cyt_nep_mast"):
        assert locations(tiny_bundle / f"unet.{name}.onnx") == {"unet.bin", f"unet.{name}.bin"}
        assert 0 < sizes[f"unet.{name}.bin"] < 0.1 * sizes["unet.bin"]
    one, two = (tiny_bundle / f"unet.{name}.bin" for name in ("cyt_mast", "cyt_nep_mast"))
    assert one.read_bytes() != two.read_bytes()


@pytest.mark.slow
def test_classes_that_the_base_knows_by_itself_share_one_unet(in_process, whole_path, tmp_path):
    """Merged without a hypernetwork; their prompts differ, their UNets do not."""
    folders = []
    for name, prompt in (("one", "cyt mast"), ("two", "cyt nep mast")):
        words = ["--class", name, "--prompt", prompt, "--origin", "phantom", "--pictures", 24]
        done = in_process("trainer", "merge", *words, "--base", whole_path / "base", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        folders.append(tmp_path / name)
    folders.append(whole_path / "merged/cyt_mast")
    done = in_process("exporter", "onnx", *folders, "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    classes = json.loads((tmp_path / "bundle/manifest.json").read_text())["classes"]
    assert classes["two"]["unet"] == classes["one"]["unet"] == "unet.one.onnx"
    assert classes["two"]["context"] != classes["one"]["context"]
    assert classes["cyt_mast"]["unet"] == "unet.cyt_mast.onnx"
    assert not list((tmp_path / "bundle").glob("unet.two.*"))
    assert in_process("engine", "verify", tmp_path / "bundle").returncode == 0
    done = in_process("trainer", "merge", "--base", whole_path / "base", "--out", tmp_path / "x", "--class", "x")
    assert done.returncode == 2
    assert "--pictures" in done.stderr


@pytest.mark.parametrize("unet", ["stored", pytest.param("exported", marks=pytest.mark.soak)])
def test_exporting_a_class_again_changes_no_byte(unet, in_process, whole_path, bundle_copy, monkeypatch):
    """Every graph is exported anew, except that the UNet, which takes most of the time, comes from the store of
    tests/shared_exports.py unless this is the soak test."""
    assert in_process("exporter", "preset", bundle_copy, "fast", "--steps", 5).returncode == 0
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    from_store = graphs.export_graph

    def export_graph(module, *options):
        taken = unet == "stored" and isinstance(module, graphs.UNetGraph)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns of its own future
            return (from_store if taken else from_store.__wrapped__)(module, *options)

    monkeypatch.setattr(graphs, "export_graph", export_graph)
    done = in_process("exporter", "onnx", whole_path / "merged/cyt_mast", "--out", bundle_copy)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir()} == before


WRONG = {
    "two folders of a class": (["cyt_mast", "cyt_mast"], [], "two merged folders"),
    "no steps": (["cyt_mast"], ["--steps", 0], "1 to 1000"),
    "another default": (["cyt_mast"], ["--guidance-scale", 3], "defaults.guidance_scale"),
    "another name": (["cyt_mast"], ["--name", "other"], "name"),
    "a broken record": (["broken"], [], "class record"),
    "another base": (["other"], [], "SHA-256"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_exports_exit_2_and_change_no_byte(case, in_process, whole_path, bundle_copy, tmp_path):
    names, extra, word = WRONG[case]
    merged = shutil.copytree(whole_path / "merged", tmp_path / "merged")
    shutil.copytree(merged / "cyt_mast", merged / "broken")
    (merged / "broken/class.json").write_text("{")
    shutil.copytree(merged / "cyt_mast", merged / "other")
    path = merged / "other/vae/diffusion_pytorch_model.safetensors"
    save_file({name: value + 1e-3 for name, value in load_file(path).items()}, path)
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    out = tmp_path / "new" if case == "no steps" else bundle_copy
    done = in_process("exporter", "onnx", *(merged / name for name in names), "--out", out, *extra)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir()} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_bundle_is_the_old_one_or_the_new_one(in_process, whole_path, bundle_copy, monkeypatch):
    """A failure at either rename leaves the old bundle, plans and all."""
    (bundle_copy / "plans/x").mkdir(parents=True)
    (bundle_copy / "plans/x/plan.json").write_text("{}")

    def files():
        return {path.relative_to(bundle_copy): path.read_bytes() for path in bundle_copy.rglob("*") if path.is_file()}

    before, rename = files(), Path.rename
    merged = shutil.copytree(whole_path / "merged/cyt_mast", bundle_copy.parent / "changed")
    path = merged / "unet/diffusion_pytorch_model.safetensors"
    state = load_file(path)
    # Smaller tensors than the mid block's stay in the graph: one of each.
    keys = [name for name in state if name.endswith("to_k.weight")]
    chosen = [next(name for name in keys if name.startswith(block)) for block in ("mid_block", "down_blocks")]
    save_file({**state, **{name: state[name] + np.float32(0.01) for name in chosen}}, path)
    for moment in (1, 2):
        calls = []

        def failing(path, target, moment=moment, calls=calls):
            if path.name in ("bundle", "new"):
                calls.append(path)
                if len(calls) == moment:
                    raise OSError(5, "Input/output error")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", failing)
        done = in_process("exporter", "onnx", merged, "--out", bundle_copy)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        monkeypatch.undo()
        assert files() == before
    assert in_process("exporter", "onnx", merged, "--out", bundle_copy).returncode == 0
    replaced = files()
    changed = {str(path) for path in before if before[path] != replaced[path]}
    assert changed == {"manifest.json", "unet.cyt_mast.bin", "unet.cyt_mast.onnx"}
    assert replaced.keys() == before.keys()


@pytest.mark.slow
def test_a_class_with_a_lora_or_a_trained_unet_stores_what_differs_and_states_its_adapters(
    in_process, whole_path, bundle_copy, tmp_path
):
    """The LoRA changes convolutions, which a hypernetwork cannot change; the trained UNet changes all tensors."""
    base, record = whole_path / "base", ["--origin", "phantom", "--pictures", 24]
    opened = open_base(base)
    file = lora_file(tmp_path / "sharp.safetensors", opened, text=False, words=("attn", "conv1"))
    tensors = {name: tensor * 1.01 for name, tensor in opened.unet.state_dict().items()}
    write_unet_weights(tmp_path / "whole.safetensors", UnetWeights(tensors, "whole"))
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir() if path.name != "manifest.json"}
    for path in (file, tmp_path / "whole.safetensors"):
        words = ["merge", path, "--base", base, "--class", path.stem, "--out", tmp_path / path.stem, *record]
        done = in_process("trainer", *words, "--prompt", "cyt mast", "--multiplier", 0.5)
        assert done.returncode == 0, done.stderr
    done = in_process("exporter", "onnx", tmp_path / "sharp", tmp_path / "whole", "--out", bundle_copy)
    assert done.returncode == 0, done.stderr
    after = {path.name: path.read_bytes() for path in bundle_copy.iterdir()}
    assert {name: after[name] for name in before} == before
    manifest = json.loads(after["manifest.json"])
    assert manifest["classes"]["sharp"]["adapters"] == [{"kind": "lora", "name": "sharp", "multiplier": 0.5}]
    assert len(after["unet.cyt_mast.bin"]) < len(after["unet.sharp.bin"]) < len(after["unet.whole.bin"])
    assert locations(bundle_copy / "unet.sharp.onnx") == {"unet.bin", "unet.sharp.bin"}
    done = in_process("exporter", "verify", bundle_copy, "--merged", tmp_path / "sharp", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    # A tag selects the class, and nothing else does.
    draw = ["engine", "generate", "--bundle", bundle_copy, "--n", 1, "--steps", 1, "--out", tmp_path / "out"]
    done = in_process(*draw, "--class", "cyt_mast", "--prompt", "cyt mast <lora:sharp:0.5>")
    assert done.returncode == 0, done.stderr
    assert [path.parent.name for path in (tmp_path / "out").glob("*/*.png")] == ["sharp"]
    done = in_process(*draw, "--class", "cyt_mast", "--prompt", "cyt mast <lora:sharp:1>", "--overwrite")
    assert done.returncode == 2
    assert "<lora:sharp:0.5> (class sharp)" in done.stderr
