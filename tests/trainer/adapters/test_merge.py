"""Merging: exact for every kind of hypernetwork and for chains, from the command line to the bundle."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError
from tests.trainer.hypernetwork.examples import RECORD, settings_of, strong
from tests.trainer.lora.examples import kohya, layers_of, lora_file, lora_tensors, written
from trainer.adapters.adapter import read_adapter
from trainer.adapters.merge import merge
from trainer.base.base import digest_of, open_base
from trainer.hypernetwork.files import (
    HypernetworkFile,
    read_hypernetwork,
    write_hypernetwork,
)
from trainer.hypernetwork.fold import RESIDUALS_FILE
from trainer.hypernetwork.network import attached


def test_a_merge_that_float32_cannot_hold_fails_and_writes_nothing(base, tmp_path):
    huge = strong()
    with torch.no_grad():
        for parameter in huge.parameters():
            parameter.mul_(1e25)
    with pytest.raises(CytosynthError, match="changed by"):
        merge(base, [(HypernetworkFile(huge, "x"), 1.0)], tmp_path / "out", RECORD)
    assert not (tmp_path / "out").exists()


def test_a_merge_into_another_base_is_refused(in_process, whole_path, tmp_path):
    other = shutil.copytree(whole_path / "merged/cyt_nep_mast", tmp_path / "other")
    file = whole_path / "hypernetworks/cyt_mast.safetensors"
    done = in_process("trainer", "merge", file, "--out", tmp_path / "out", "--base", other)
    assert done.returncode == 2
    assert "SHA-256" in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    done = in_process("trainer", "merge", file, "--out", tmp_path / "file", "--base", whole_path / "base")
    assert done.returncode == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_a_gain_scales_the_drawn_latents_and_is_the_same_for_a_whole_bundle(in_process, whole_path, tmp_path):
    source, base = whole_path / "hypernetworks/cyt_mast.safetensors", whole_path / "base"
    merge_it = ["trainer", "merge", source, "--base", base, "--out", tmp_path / "merged"]
    done = in_process(*merge_it, "--latents-gain", "nan")
    assert done.returncode == 2
    assert "--latents-gain" in done.stderr
    assert not (tmp_path / "merged").exists()
    done = in_process(*merge_it, "--latents-gain", 1.25)
    assert done.returncode == 0, done.stderr
    plain, gained = (DiffusionPipeline.from_pretrained(folder) for folder in (base, tmp_path / "merged"))
    latents = torch.randn(1, plain.unet.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    decoded = [
        pipe.vae.decode(z / pipe.vae.config.scaling_factor).sample
        for pipe, z in ((plain, 1.25 * latents), (gained, latents))
    ]
    torch.testing.assert_close(*decoded)
    bundle = shutil.copytree(whole_path / "bundle", tmp_path / "bundle")
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", bundle)
    assert done.returncode == 2
    assert "export classes of another base into another bundle" in done.stderr


def test_the_record_of_a_merge_states_the_part_of_a_long_prompt_that_is_used(in_process, whole_path, tmp_path):
    file = whole_path / "hypernetworks/cyt_mast.safetensors"
    arguments = ["merge", shutil.copy(file, tmp_path / "copy.SAFETENSORS"), "--base", whole_path / "base"]
    done = in_process("trainer", *arguments, "--prompt", "cyt mast " * 4, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "It was cut" in done.stderr
    assert json.loads((tmp_path / "out/class.json").read_text())["prompt"] == "cyt mast cyt mast cyt mast"


@pytest.mark.slow
def test_modules_that_stay_in_the_graph_reach_the_bundle_and_the_pictures(in_process, whole_path, tmp_path):
    """A chain of a tanh and a linear hypernetwork is merged, exported and compared with torch by the exporter."""
    base = whole_path / "base"
    opened = open_base(base)
    sha256 = digest_of(opened.unet)
    for name, activation in (("bent", "tanh"), ("straight", "linear")):
        hypernetwork = strong(settings_of(activation=activation, layer_norm=activation == "tanh"))
        write_hypernetwork(tmp_path / f"{name}.safetensors", HypernetworkFile(hypernetwork, name, 1, RECORD, sha256))
    files = [tmp_path / "bent.safetensors", tmp_path / "straight.safetensors"]
    done = in_process("trainer", "merge", *files, "--base", base, "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert "bent: 4 modules stay in the graph (16 K, 16 V, 32 K, 32 V)" in done.stdout
    assert "straight: 4 modules folded" in done.stdout
    assert (tmp_path / "merged" / RESIDUALS_FILE).exists()
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", tmp_path / "bundle", "--guidance-scale", 2)
    assert done.returncode == 0, done.stderr
    done = in_process("exporter", "verify", tmp_path / "bundle", "--merged", tmp_path / "merged", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    # A linear class in the same bundle shares its weights.
    plain = ["trainer", "merge", files[1], "--base", base, "--out", tmp_path / "plain", "--class", "plain"]
    assert in_process(*plain).returncode == 0
    shared = (tmp_path / "bundle/unet.bin").read_bytes()
    done = in_process("exporter", "onnx", tmp_path / "plain", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle/unet.bin").read_bytes() == shared

    # The graph's own modules against the hypernetworks in front of the untouched base.
    from engine.backends.openvino import OpenVINOBackend
    from engine.sampling.schedules import time_features

    chain = [(read_hypernetwork(path).hypernetwork, 1.0) for path in files]
    bundle = open_bundle(str(tmp_path / "bundle"))
    generator = torch.Generator().manual_seed(4)
    latents, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 8, 16, generator=generator)
    features = time_features(np.full(2, 300.0), np.array(bundle.manifest.frequencies))
    shapes = {"latents": (2, 4, 8, 8), "time_features": features.shape, "encoder_hidden_states": (2, 8, 16)}
    model = OpenVINOBackend(precision="f32").open(bundle.path("unet.cyt_mast.onnx"), shapes, ("eps",))
    inputs = {"latents": latents.numpy(), "time_features": features, "encoder_hidden_states": context.numpy()}
    found = model.run(inputs)["eps"]
    with torch.no_grad(), attached(opened.unet.eval(), chain):
        wanted = opened.unet(latents, torch.tensor([300.0, 300.0]), context).sample.numpy()
    with torch.no_grad():
        plain = opened.unet(latents, torch.tensor([300.0, 300.0]), context).sample.numpy()
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)
    assert np.linalg.norm(plain - wanted) > 0.1 * np.linalg.norm(wanted)


def test_foreign_modules_in_a_merged_folder_are_refused(in_process, whole_path, tmp_path):
    import shutil

    from safetensors.torch import save_file

    for number, modules in enumerate(
        ([{"dimension": 16, "side": "k", "multiplier": 1, "layers": ["Embedding"]}], [{"dimension": 16}], 3)
    ):
        merged = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / f"merged{number}")
        metadata = {"format": "cytosynth residuals 1", "modules": json.dumps(modules)}
        save_file({"0.0.weight": torch.ones(16, 16)}, merged / RESIDUALS_FILE, metadata)
        done = in_process("exporter", "onnx", merged, "--out", tmp_path / "bundle")
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_a_merge_that_cannot_be_written_leaves_nothing(whole_path, tmp_path):
    """The limit of file sizes acts as a full disk does."""
    words = ["merge", whole_path / "hypernetworks/cyt_mast.safetensors", "--base", whole_path / "base"]
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    script += "from trainer.cli.app import main; main()"
    command = [sys.executable, "-c", script, *map(str, words), "--out", str(tmp_path / "merged")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_chain_of_loras_and_hypernetworks_is_merged_exactly_in_any_order(base, tmp_path):
    first = read_adapter(lora_file(tmp_path / "first.safetensors", base))
    second = read_adapter(lora_file(tmp_path / "second.safetensors", base, rank=3, words=("attn", "conv")))
    linear, bent = (HypernetworkFile(strong(settings_of(activation=kind)), kind) for kind in ("linear", "tanh"))
    chains = ([first, bent, second, linear], [bent, linear, second, first])
    states = []
    for number, chain in enumerate(chains):
        one = copy.deepcopy(base)
        done = merge(one, [(file, 0.5) for file in chain], tmp_path / f"out{number}", RECORD)
        assert done.largest_difference < 1e-5
        assert len(done.changed) == 2
        states.append({**one.unet.state_dict(), **{f"t.{k}": v for k, v in one.text_encoder.state_dict().items()}})
    assert max(float((states[0][key] - states[1][key]).abs().max()) for key in states[0]) < 1e-5
    assert (tmp_path / "out0" / RESIDUALS_FILE).exists()
    # Merging one after the other gives the same weights.
    one = copy.deepcopy(base)
    for number, file in enumerate((first, second, linear)):
        merge(one, [(file, 0.5)], tmp_path / f"step{number}", RECORD)
    at_once = copy.deepcopy(base)
    merge(at_once, [(first, 0.5), (second, 0.5), (linear, 0.5)], tmp_path / "at_once", RECORD)
    found, wanted = one.unet.state_dict(), at_once.unet.state_dict()
    assert max(float((found[key] - wanted[key]).abs().max()) for key in wanted) < 1e-5


def test_two_changes_with_dora_are_merged_in_their_order(base, tmp_path):
    files = []
    for seed in range(2):
        modules = layers_of(base.unet)
        tensors = lora_tensors(modules, kohya, rank=2 + seed)
        tensors |= {f"{kohya(name)}.dora_scale": torch.rand(len(m.weight), 1) + 0.5 for name, m in modules.items()}
        files.append(read_adapter(written(tmp_path / f"{seed}.safetensors", tensors)))
    done = merge(base, [(file, 0.3) for file in files], tmp_path / "out", RECORD)
    assert "LoRA with DoRA" in done.changed[0]
    assert done.largest_difference < 1e-5


def test_a_lora_is_merged_from_the_command_line_and_the_record_states_it(in_process, whole_path, tmp_path):
    opened = open_base(whole_path / "base")
    file = lora_file(tmp_path / "sharp.safetensors", opened)
    merge_it = ["trainer", "merge", file, "--base", whole_path / "base", "--out", tmp_path / "out"]
    done = in_process(*merge_it)
    assert done.returncode == 2
    assert "--origin and --pictures" in done.stderr
    told = ["--class", "cyt_mast", "--origin", "photographs", "--pictures", 9]
    done = in_process(*merge_it, *told, "--multiplier", 0.8)
    assert done.returncode == 0, done.stderr
    assert "sharp: LoRA; " in done.stdout
    assert "of the UNet and 4 of the text encoder changed" in done.stdout
    record = json.loads((tmp_path / "out/class.json").read_text())
    assert record["adapters"] == [{"kind": "lora", "name": "sharp", "multiplier": 0.8}]
    # A merged folder as the base: its record keeps what was merged before.
    again = ["trainer", "merge", file, "--base", tmp_path / "out", "--out", tmp_path / "twice", *told]
    assert in_process(*again).returncode == 0
    record = json.loads((tmp_path / "twice/class.json").read_text())
    assert [one["multiplier"] for one in record["adapters"]] == [0.8, 1.0]
    (tmp_path / "out" / RESIDUALS_FILE).write_bytes(b"")
    done = in_process(*again[:-6], "--out", tmp_path / "third", *told)
    assert done.returncode == 2
    assert "modules that stay in the graph" in done.stderr


@pytest.mark.parametrize("multiplier", ["nan", "inf"])
def test_a_strength_that_is_no_number_is_refused(multiplier, in_process, whole_path, tmp_path):
    merge_it = ["merge", whole_path / "hypernetworks/cyt_mast.safetensors", "--base", whole_path / "base"]
    done = in_process("trainer", *merge_it, "--out", tmp_path / "out", "--multiplier", multiplier)
    assert done.returncode == 2
    assert "--multiplier" in done.stderr
