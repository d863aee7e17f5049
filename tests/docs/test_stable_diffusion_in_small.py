"""The commands of the guide on Stable Diffusion 1.5, from a single file with its structure and few channels."""

from __future__ import annotations

import functools
import shlex

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests.conftest import ROOT
from tests.docs.commands import commands, part_of
from tests.trainer.base.original_layout import original_state
from tests.trainer.base.test_stable_diffusion import SMALL_CLIP, SMALL_UNET, SMALL_VAE, write_vocabulary
from trainer.base import base as bases
from trainer.base.stable_diffusion import read_single_file

pytestmark = pytest.mark.soak

SMALL = {
    "prepare": {"--size": "128", "--n": "22"},
    "fit": {"--steps": "2"},
    "onnx": {"--steps": "2"},
    "tensorrt": {"--batch": "1"},
    "generate": {"--n": "2", "--batch-size": "1"},
    "bench": {"--batch-size": "1", "--rounds": "1"},
}
"""Values of options that make a command small."""


def shrunk(arguments):
    """Return the arguments with small values, and for the processor's runtimes."""
    words = list(arguments)
    if "--backend" in words:
        at = words.index("--backend")
        del words[at : at + 2]
    for flag, value in SMALL.get(words[0], {}).items():
        if flag in words:
            words[words.index(flag) + 1] = value
        elif flag != "--n":
            words += [flag, value]
    return words


def test_the_commands_of_the_guide_run_from_the_single_file(in_process, monkeypatch, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="the extra `rtx` is not installed")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    parts = UNet2DConditionModel(**SMALL_UNET), AutoencoderKL(**SMALL_VAE), CLIPTextModel(CLIPTextConfig(**SMALL_CLIP))
    save_file(original_state(*parts), "v1-5-pruned-emaonly.safetensors")
    read = functools.partial(read_single_file, unet=SMALL_UNET, vae=SMALL_VAE, clip=SMALL_CLIP)
    monkeypatch.setattr(bases, "read_single_file", read)
    write_vocabulary(tmp_path / "clip", 49408)
    drawn = in_process("trainer", "phantom", "drawn", "--n", 21, "--size", 128, "--class", "cytology")
    assert drawn.returncode == 0, drawn.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "drawn/pictures/cytology").rename("mine/cyst")
    found = []
    for command in commands(ROOT / "docs/guides/stable-diffusion-a6000.md"):
        called = part_of(command.words)
        if called is None or called[0] == "benchmarks" or called[1][0] == "doctor":
            continue
        part, arguments = called[0], shrunk(called[1])
        done = in_process(part, *arguments)
        assert done.returncode == 0, f"{command}\nran as {shlex.join(arguments)}\n{done.stderr}"
        found.append(arguments[0])
    assert found == [
        *("prepare", "prepare", "fit", "merge", "onnx", "verify", "tensorrt", "generate", "bench", "plans", "plans")
    ]
    assert len(list((tmp_path / "cells/cyst").glob("*.png"))) == 2
    assert len(list((tmp_path / "bundle/plans").glob("*/unet.cyst.onnx.plan"))) == 1
