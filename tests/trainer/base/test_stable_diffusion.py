"""The single file of Stable Diffusion 1.5: a small one, and one of full size with random weights."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.original_layout import original_state
from benchmarks.scripts.random_base import write_single_file, write_vocabulary
from engine.errors import RequestError
from tests.conftest import ROOT
from trainer.base import base as bases
from trainer.base.base import encode_prompts, open_base
from trainer.base.stable_diffusion import CLIP_TEXT, UNET, VAE, read_single_file

pytestmark = pytest.mark.slow

SMALL_UNET = {**UNET, "block_out_channels": (32, 64, 96, 96), "cross_attention_dim": 24, "sample_size": 16}
SMALL_VAE = {**VAE, "block_out_channels": (32, 32, 64, 64)}
SMALL_CLIP = {**CLIP_TEXT, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Small parts with the structure of SD 1.5, and the single file of their tensors."""
    torch.manual_seed(0)
    parts = UNet2DConditionModel(**SMALL_UNET), AutoencoderKL(**SMALL_VAE), CLIPTextModel(CLIPTextConfig(**SMALL_CLIP))
    path = tmp_path_factory.mktemp("single") / "small.safetensors"
    # Such files also hold tensors that are not read: the schedule and positions.
    extra = {
        "alphas_cumprod": torch.zeros(1000),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
    }
    save_file({**original_state(*parts), **extra}, path)
    return parts, path


def test_every_tensor_arrives_in_its_place(small):
    (unet, vae, text_encoder), path = small
    found_vae, found_unet, found_text, scheduler = read_single_file(path, SMALL_UNET, SMALL_VAE, SMALL_CLIP)
    for wanted, found in ((unet, found_unet), (vae, found_vae), (text_encoder, found_text)):
        for name, tensor in wanted.state_dict().items():
            torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=0)
    ids = torch.randint(49408, (2, 77))
    x, t, context = torch.randn(2, 4, 16, 16), torch.tensor([5, 900]), torch.randn(2, 77, 24)
    with torch.no_grad():
        torch.testing.assert_close(found_text(ids)[0], text_encoder.eval()(ids)[0])
        torch.testing.assert_close(found_unet(x, t, context).sample, unet.eval()(x, t, context).sample)
        torch.testing.assert_close(found_vae.decode(x).sample, vae.eval().decode(x).sample)
    assert scheduler.config.beta_schedule == "scaled_linear"


def without(name):
    return lambda state: state.pop(next(key for key in state if name in key))


def misshape(state):
    state["model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"] = torch.zeros(32, 99)


def without_vae(state):
    for key in [key for key in state if key.startswith("first_stage_model")]:
        del state[key]


DAMAGES = {
    "a tensor is missing": (without("middle_block.1.proj_in.weight"), "proj_in.weight"),
    "one of the text encoder": (without("layers.1.mlp.fc1.bias"), "layers.1.mlp.fc1.bias"),
    "one of the time embedding": (without("time_embed.0.weight"), "time_embedding.linear_1.weight"),
    "misshapen": (misshape, "(32, 99), expected (32, 24)"),
    "no autoencoder": (without_vae, "no tensor of the VAE"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_tensors_that_are_missing_or_have_the_wrong_shape_are_named(case, small, tmp_path):
    damage, word = DAMAGES[case]
    state = load_file(small[1])
    damage(state)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(RequestError) as caught:
        read_single_file(tmp_path / "x.safetensors", SMALL_UNET, SMALL_VAE, SMALL_CLIP)
    assert word in str(caught.value)


def test_a_truncated_file_is_refused(small, tmp_path):
    content = small[1].read_bytes()
    (tmp_path / "x.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(RequestError, match="unreadable"):
        open_base(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"v_pred": torch.zeros(0)}, {}),
        ({"ztsnr": torch.zeros(0)}, {}),
        ({}, {"modelspec.prediction_type": "v"}),
        ({}, {"modelspec.architecture": "stable-diffusion-v1/inpainting"}),
    ],
)
def test_a_checkpoint_that_says_it_is_of_another_kind_is_refused(tensors, metadata, small, tmp_path):
    save_file({**load_file(small[1]), **tensors}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(RequestError, match="another kind"):
        open_base(tmp_path / "x.safetensors")


def test_a_model_of_another_size_says_what_was_expected(small):
    with pytest.raises(RequestError, match="expected"):
        open_base(small[1])


def test_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RequestError, match="not available from the hub"):
        open_base("nobody/nothing")


def test_a_tokenizer_of_another_size_is_refused(small, monkeypatch, tmp_path):
    read = functools.partial(read_single_file, unet=SMALL_UNET, vae=SMALL_VAE, clip=SMALL_CLIP)
    monkeypatch.setattr(bases, "read_single_file", read)
    write_vocabulary(tmp_path / "short", 1000)
    with pytest.raises(RequestError, match="49408"):
        open_base(small[1], tmp_path / "short")
    write_vocabulary(tmp_path / "whole", 49408)
    base = open_base(small[1], tmp_path / "whole")
    assert encode_prompts(base, ["cyst", ""]).shape == (2, 77, 24)
    with pytest.raises(RequestError, match="--tokenizer"):
        open_base(small[1], tmp_path)


def pictures_of_noise(folder, side):
    folder.mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(256, size=(side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")


def expect_two_steps(out, dimensions):
    record = json.loads((out / "cyst.json").read_text())
    assert record["dimensions"] == dimensions
    # 4 d^2 + 3 d values a module, two modules a dimension: 21.94 million at full size.
    assert record["parameters"] == sum(2 * (4 * d * d + 3 * d) for d in dimensions)
    assert record["training"]["steps_done"] == 2


def test_two_steps_from_a_single_file(small, in_process, monkeypatch, tmp_path):
    """The structure of SD 1.5 with few channels, and CLIP's vocabulary size. `make soak` takes the full size."""
    read = functools.partial(read_single_file, unet=SMALL_UNET, vae=SMALL_VAE, clip=SMALL_CLIP)
    monkeypatch.setattr(bases, "read_single_file", read)
    pictures_of_noise(tmp_path / "data", 128)
    write_vocabulary(tmp_path / "tokenizer", 49408)
    fit = ["trainer", "fit", tmp_path / "data", "--base", small[1], "--tokenizer", tmp_path / "tokenizer"]
    fit += ["--class", "cyst", "--out", tmp_path / "out", "--steps", 2, "--precision", "bf16"]
    done = in_process(*fit)
    assert done.returncode == 0, done.stderr
    expect_two_steps(tmp_path / "out", [24, 32, 64, 96])


def run(*arguments, **options):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=900, **options
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.soak
@pytest.mark.skipif(
    not hasattr(os, "sysconf") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") < 22e9,
    reason="needs 22 GB of memory, which no package provides",
)
@pytest.mark.parametrize(("side", "precision"), [(128, "bf16"), (512, "f32")])
def test_two_steps_at_full_size_stay_below_20_gb(side, precision, tmp_path):
    """From the single file, with random weights and CLIP's vocabulary size. At 512 pixels a step takes minutes in
    float32, and several times as long in bfloat16 on a processor that only emulates it."""
    write_single_file(tmp_path / "v1-5-pruned-emaonly.safetensors")
    pictures_of_noise(tmp_path / "data", side)
    write_vocabulary(tmp_path / "tokenizer", 49408)
    fit = ["-m", "trainer", "fit", tmp_path / "data", "--base", tmp_path / "v1-5-pruned-emaonly.safetensors"]
    fit += ["--tokenizer", tmp_path / "tokenizer", "--class", "cyst", "--out", tmp_path / "out", "--steps", 2]
    script = """
import resource, runpy, sys
from trainer.base import stable_diffusion
stable_diffusion.UNET["sample_size"] = int(sys.argv[1]) // 8
sys.argv = sys.argv[2:]
try:
    runpy.run_module("trainer", run_name="__main__")
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = run("-c", script, side, *fit[1:], "--precision", precision)
    peak_gb = int(done.stdout.split("peak ")[1].split()[0]) * 1024 / 1e9
    assert peak_gb < 20
    expect_two_steps(tmp_path / "out", [320, 640, 768, 1280])
