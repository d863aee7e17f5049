"""`fit --method full`: the whole UNet is trained, and its file is merged in place of the base's."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from engine.errors import RequestError
from tests.trainer.fitting.examples import SHORT, weights
from trainer.base.base import open_base
from trainer.fitting.full import choose_optimizer
from trainer.training.devices import Compute

FULL = [*SHORT, "--steps", 6, "--method", "full", "--learning-rate", "1e-4", "--clipping", "norm", "--ema-decay", 0.9]


@pytest.mark.slow
def test_the_whole_unet_is_trained_resumed_and_merged(fit_it, in_process, whole_path, tmp_path):
    done = fit_it("whole", *FULL, "--gradient-checkpointing")
    assert done.returncode == 0, done.stderr
    assert "The UNet: " in done.stdout
    assert fit_it("half", *FULL, "--steps", 3).returncode == 0
    assert fit_it("half", *FULL, "--resume").returncode == 0
    whole, half = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("whole", "half"))
    # Checkpointing computes the same, except for the order of sums.
    assert max(float((whole[name] - half[name]).abs().max()) for name in whole) < 1e-5
    before = open_base(whole_path / "base").unet.state_dict()
    assert sum(not torch.equal(before[name], whole[name]) for name in before) > 0.9 * len(before)
    facts = json.loads((tmp_path / "whole/cyst.json").read_text())
    assert (facts["method"], facts["optimizer"]) == ("full", "adamw")
    path = tmp_path / "whole/cyst.safetensors"
    done = in_process("trainer", "merge", path, "--base", whole_path / "base", "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert "cyst: the whole UNet" in done.stdout
    merged = open_base(tmp_path / "merged").unet.state_dict()
    assert all(torch.equal(merged[name], tensor) for name, tensor in whole.items())


def test_eight_bits_need_a_gpu_and_the_package(monkeypatch):
    cpu, gpu = Compute(), Compute(torch.device("cuda"))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert [choose_optimizer("auto", where) for where in (cpu, gpu)] == ["adamw", "adamw"]
    with pytest.raises(RequestError, match="not installed"):
        choose_optimizer("adamw8bit", gpu)
    monkeypatch.setitem(sys.modules, "bitsandbytes", type(sys)("bitsandbytes"))
    assert [choose_optimizer("auto", where) for where in (cpu, gpu)] == ["adamw", "adamw8bit"]
    assert choose_optimizer("adamw", gpu) == "adamw"
    with pytest.raises(RequestError, match="the device cpu"):
        choose_optimizer("adamw8bit", cpu)
