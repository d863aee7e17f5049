"""The commands that work on whole checkpoints."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.checkpoints.checkpoint_files import INPUT, state, write


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"{name}.safetensors", state(i, 9 if name == "a" else 4)) for i, name in enumerate("ab")]


def test_merge_checkpoints_from_the_command_line(in_process, files, tmp_path):
    out = tmp_path / "out.safetensors"
    words = ["trainer", "merge-checkpoints", *files, "--out", out, "--multiplier", 0.5, "--discard", "^model_ema"]
    done = in_process(*words, "--blocks", "IN00=1")
    assert done.returncode == 0, done.stderr
    assert "Tensors: 2 kept as in A, 30 merged, 2 left out" in done.stdout
    assert "for inpainting" in done.stderr
    assert load_file(out)[INPUT][:, :4].equal(load_file(files[1])[INPUT])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--blocks", "1,2"], "2 numbers"),
        (["--discard", "("], "--discard"),
        (["--multiplier", "2"], "--multiplier"),
        (["--method", "sum"], "--method"),
        (["--method", "add-difference"], "2 checkpoints"),
        (["--vae", "vae.pt"], "could run code"),
    ],
)
def test_wrong_requests_exit_2_and_write_nothing(in_process, files, tmp_path, words, said):
    done = in_process("trainer", "merge-checkpoints", *files, "--out", tmp_path / "out.safetensors", *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out.safetensors").exists()


def test_extract_lora_from_the_command_line(in_process, tmp_path):
    base = state(0)
    name = "model.diffusion_model.middle_block.0.weight"
    tuned = {**base, name: base[name] + torch.eye(4), "model.diffusion_model.out.2.bias": torch.ones(4)}
    files = [write(tmp_path / "tuned.safetensors", tuned), write(tmp_path / "base.safetensors", base)]
    out = tmp_path / "lora.safetensors"
    done = in_process("trainer", "extract-lora", *files, "--rank", 1, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "25.0%  rank 1  lora_unet_mid_block_resnets_0" in done.stdout
    assert "1 tensors changed that a LoRA cannot hold" in done.stderr
    assert len(load_file(out)) == 3
    done = in_process("trainer", "extract-lora", *files, "--rank", 1, "--out", out)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
