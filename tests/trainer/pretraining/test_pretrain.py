"""`pretrain`: wrong requests, and continuing from a base without changing its latents."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from trainer.base.base import open_base

pytestmark = pytest.mark.slow

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("extra", [["--preset", "small"], ["--preset", "huge"], ["--seed", "-1"]])
def test_wrong_requests_to_pretrain_exit_2(extra, in_process, whole_path, tmp_path):
    """The pictures of the whole path fit all presets, so the first case prepares pictures of another size."""
    data = whole_path / "prepared"
    if extra == ["--preset", "small"]:
        source = whole_path / "phantom/pictures/cyt_mast"
        assert in_process("trainer", "prepare", source, tmp_path / "other", "--size", 48).returncode == 0
        data = tmp_path / "other"
    done = in_process("trainer", "pretrain", data, "--out", tmp_path / "base", *extra)
    assert done.returncode == 2, done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "base").exists()


def test_a_class_name_that_the_text_encoder_would_cut_is_refused(in_process, whole_path, tmp_path):
    """Two long names could become one caption."""
    shutil.copytree(whole_path / "prepared/cyt_mast", tmp_path / "data/a_b_c_d_e_f_g")
    done = in_process("trainer", "pretrain", tmp_path / "data", "--out", tmp_path / "base", "--preset", "tiny")
    assert done.returncode == 2, done.stderr
    assert "rename the folder" in done.stderr
    assert not (tmp_path / "base").exists()


def test_pretrain_leaves_a_foreign_folder_alone(in_process, whole_path, tmp_path):
    (tmp_path / "record.json").write_text("mine")
    done = in_process("trainer", "pretrain", whole_path / "prepared", "--out", tmp_path, "--preset", "tiny")
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_pretrain_continues_from_a_base_and_keeps_its_latents(in_process, whole_path, stochastic, tmp_path):
    """The encoder must not move, or what the UNet learnt before would be lost. The refiner belongs to the decoder."""
    before = stochastic / "base"
    pretrain = ["trainer", "pretrain", "--start-from", before, "--unet-steps", 3, "--decoder-steps", 3, "--seed", 5]
    pretrain += ["--unet-batch-size", 2, "--decoder-batch-size", 2, "--refiner-steps", 0]
    done = in_process(*pretrain, whole_path / "prepared", "--out", tmp_path / "base")
    assert done.returncode == 0, done.stderr
    parts = {part: load_file(tmp_path / f"base/{part}/{WEIGHTS}") for part in ("vae", "unet")}
    for part, tensors in parts.items():
        old = load_file(before / part / WEIGHTS)
        changed = {name for name, tensor in tensors.items() if not torch.equal(tensor, old[name])}
        assert changed
        if part == "vae":
            assert {name.split(".")[0] for name in changed} <= {"decoder", "post_quant_conv"}
    # The base before the training of the decoder: a hypernetwork that was fitted on it also fits the final base.
    undecoded = {part: load_file(tmp_path / f"base/checkpoints/base/{part}/{WEIGHTS}") for part in ("vae", "unet")}
    assert all(torch.equal(tensor, undecoded["unet"][name]) for name, tensor in parts["unet"].items())
    assert any(not torch.equal(tensor, undecoded["vae"][name]) for name, tensor in parts["vae"].items())
    assert not list((tmp_path / "base").rglob("refiner.safetensors"))
    record = json.loads((tmp_path / "base/record.json").read_text())
    assert record["compute"]["device"] == "cpu"
    assert record["unet"]["clip_at"]["pairs"] == [[1.0, None]]
    assert record["start"] == json.loads((before / "record.json").read_text())
    assert record["unet"]["loss_first"] < 0.9 * record["start"]["unet"]["loss_first"]

    alone = [*pretrain, "--unet-steps", 0, "--decoder-steps", 0, "--refiner-steps", 3, "--refiner-batch-size", 2]
    done = in_process(*alone, whole_path / "prepared", "--out", tmp_path / "refined")
    assert done.returncode == 0, done.stderr
    for part in ("vae", "unet", "text_encoder"):
        name = "model.safetensors" if part == "text_encoder" else WEIGHTS
        old, new = (load_file(folder / part / name) for folder in (before, tmp_path / "refined"))
        assert all(torch.equal(old[key], new[key]) for key in old)
    refiner = open_base(tmp_path / "refined").refiner
    assert refiner is not None
    assert (refiner.settings.latent_channels, refiner.settings.factor) == (4, 4)
    assert json.loads((tmp_path / "refined/record.json").read_text())["refiner"]["steps_done"] == 3

    source = whole_path / "phantom/pictures/cyt_mast"
    assert in_process("trainer", "prepare", source, tmp_path / "other", "--size", 64).returncode == 0
    done = in_process(*pretrain, tmp_path / "other", "--out", tmp_path / "another")
    assert done.returncode == 2
    assert "--size 32" in done.stderr
