"""`fit --method lora`: the file is kohya's, resumes exactly, and is merged like any LoRA."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from tests.trainer.fitting.examples import SHORT, weights
from trainer.base.base import open_base

LORA = [*SHORT, "--steps", 6, "--method", "lora", "--rank", 4, "--alpha", 2]


def test_a_trained_lora_has_kohyas_names_and_is_merged(fit_it, in_process, whole_path, tmp_path):
    done = fit_it("out", *LORA)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out/cyst.safetensors"
    assert f"The LoRA: {path}" in done.stdout
    tensors = weights(path)
    layers = {name.split(".")[0] for name in tensors}
    assert len(tensors) == 3 * len(layers)
    assert all(tensors[f"{layer}.lora_down.weight"].shape[0] == 4 for layer in layers)
    assert all(float(tensors[f"{layer}.alpha"]) == 2 for layer in layers)
    assert all(tensors[f"{layer}.lora_up.weight"].abs().max() > 0 for layer in layers)
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["ss_network_module"] == "networks.lora"
    assert "ss_base_model_version" not in metadata
    facts = json.loads((tmp_path / "out/cyst.json").read_text())
    assert (facts["method"], facts["rank"], facts["modules"]) == ("lora", 4, len(layers))
    done = in_process("trainer", "merge", path, "--base", whole_path / "base", "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    before, after = (open_base(folder).unet.state_dict() for folder in (whole_path / "base", tmp_path / "merged"))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(changed) == len(layers)
    assert all(".attn" in name for name in changed)
    record = json.loads((tmp_path / "merged/class.json").read_text())
    assert (record["class_name"], record["adapters"][0]["name"]) == ("cyst", "cyst")


@pytest.mark.slow
def test_a_training_of_convolutions_resumes_exactly(fit_it, tmp_path):
    options = [*LORA, "--lora-convolutions", "--ema-decay", 0.9]
    assert fit_it("whole", *options).returncode == 0
    assert fit_it("half", *options, "--steps", 3).returncode == 0
    assert fit_it("half", *options, "--resume").returncode == 0
    whole, half = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("whole", "half"))
    assert all(torch.equal(whole[name], half[name]) for name in whole)
    assert any("_conv1." in name for name in whole)
    done = fit_it("half", *options, "--rank", 3, "--resume", "--steps", 20)
    assert done.returncode == 2
    assert "its data, base and model" in done.stderr


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (["--rank", 4], "--rank"),
        (["--method", "lora", "--layer-structure", "1,2,1"], "--layer-structure"),
        (["--method", "full", "--lora-convolutions"], "--lora-convolutions"),
        (["--method", "lora", "--webui"], "--webui"),
        (["--method", "lora", "--rank", 0], "--rank"),
        (["--method", "lora", "--lora-projections", "q,z"], "--lora-projections"),
        (["--method", "lora", "--alpha", 0], "--alpha"),
        (["--method", "lora", "--optimizer", "adamw"], "--optimizer"),
        (["--method", "dora"], "--method"),
    ],
)
def test_options_of_another_method_are_refused(options, flag, fit_it, tmp_path):
    done = fit_it("out", *options)
    assert done.returncode == 2, done.stderr
    assert flag in done.stderr
    assert not (tmp_path / "out").exists()
