"""Distilling the guided sampler of two tiny classes into a LoRA."""

from __future__ import annotations

import json
import math

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from engine.sampling.learned import LearnedTable
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule
from trainer.adapters.merged import open_merged
from trainer.base.base import encode_prompts

NOISE = NoiseSchedule(0.00085, 0.012, 1000)
QUICK = ("--rows", 2, "--teacher-steps", 6, "--guidance-scale", 2, "--pictures", 16, "--rank", 4)


@pytest.fixture(scope="module")
def distilled(in_process, whole_path, tmp_path_factory):
    """The folder of a LoRA for two classes."""
    out = tmp_path_factory.mktemp("distilled")
    merged = [whole_path / f"merged/{name}" for name in ("cyt_mast", "cyt_nep_mast")]
    training = ("--steps", 60, "--batch-size", 16, "--learning-rate", 2e-3)
    done = in_process("trainer", "distill", *merged, "--out", out, *QUICK, *training)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_two_distilled_rows_are_nearer_to_the_teacher_than_two_guided_ones(distilled):
    found = json.loads((distilled / "turbo.json").read_text())
    table = LearnedTable.parse(found["rows"], NOISE)
    levels = [row.sigma for row in plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=6).rows]
    assert [row.sigma for row in table.rows] == pytest.approx([levels[0], levels[3]], rel=1e-5)
    assert table.scales == (1, 1)
    assert (found["evaluations"], found["evaluations_of_the_teacher"]) == (2, 12)
    assert found["error"] < 0.85 * found["error_of_dpmpp_2m"]


@pytest.mark.slow
def test_the_file_holds_what_the_record_says(distilled, in_process, whole_path, tmp_path):
    """Merged into the UNet of a class, the LoRA ends at the recorded distance from the teacher's latents."""
    source = whole_path / "merged/cyt_mast"
    known = ("--class", "cyt_mast", "--origin", "phantom", "--pictures", 24)
    done = in_process(
        "trainer", "merge", distilled / "turbo.safetensors", "--base", source, "--out", tmp_path / "fast", *known
    )
    assert done.returncode == 0, done.stderr
    opened = open_merged(source)
    base = opened.base
    unets = [UNet2DConditionModel.from_pretrained(folder / "unet") for folder in (source, tmp_path / "fast")]
    noises = torch.randn(16, *_shape(base), generator=torch.Generator().manual_seed(0))[-2:]
    with torch.no_grad():
        context = encode_prompts(base, [opened.prompt, ""])
        plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=6)
        wanted = _guided(unets[0], plan, context, noises)
        record = json.loads((distilled / "turbo.json").read_text())
        found = noises * record["rows"][0]["sigma"]
        for row in record["rows"]:
            sigma = row["sigma"]
            scaled = found / math.sqrt(sigma**2 + 1)
            eps = unets[1](scaled, row["timestep"], context[:1].expand(2, -1, -1)).sample
            found = row["a"] * found + row["b"] * (found - sigma * eps)
    error = math.sqrt((found - wanted).pow(2).mean() / wanted.var())
    assert error == pytest.approx(record["errors"][0], rel=1e-3)


def test_rows_that_do_not_divide_the_teachers_steps_are_refused(in_process, whole_path, tmp_path):
    done = in_process("trainer", "distill", whole_path / "merged/cyt_mast", "--out", tmp_path / "new", "--rows", 3)
    assert done.returncode == 2
    assert "a divisor of --teacher-steps" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_latents_of_another_teacher_are_refused(distilled, in_process, whole_path):
    done = in_process(
        "trainer", "distill", whole_path / "merged/cyt_mast", "--out", distilled, *QUICK, "--steps", 60, "--resume"
    )
    assert done.returncode == 2
    assert "of other classes or settings" in done.stderr


@pytest.mark.slow
def test_the_options_that_save_memory_change_no_gradient(in_process, whole_path, tmp_path):
    """Recomputed activations, and both classes in one step, one latent at a time."""
    merged = [whole_path / f"merged/{name}" for name in ("cyt_mast", "cyt_nep_mast")]
    few = ("--rows", 2, "--teacher-steps", 4, "--pictures", 2, "--rank", 2, "--steps", 2, "--batch-size", 1)
    found = []
    for options in ((), ("--gradient-checkpointing",)):
        out = tmp_path / f"out{len(found)}"
        more = ("--out", out, "--gradient-accumulation", 2, *options)
        done = in_process("trainer", "distill", *merged, *few, *more)
        assert done.returncode == 0, done.stderr
        record = json.loads((out / "turbo.json").read_text())
        assert record["training"]["accumulation"] == 2
        assert record["compute"]["gradient_checkpointing"] == bool(options)
        found.append(load_file(out / "turbo.safetensors"))
    torch.testing.assert_close(*found)


def _shape(base):
    config = base.unet.config
    return config.in_channels, config.sample_size, config.sample_size


def _guided(unet, plan, context, noises):
    """DPM++ 2M by the rows of the plan, with a guidance scale of 2 everywhere."""
    x, last = noises * plan.initial_scale, torch.zeros_like(noises)
    prompt, empty = (one.expand(len(x), -1, -1) for one in context[:, None])
    for row in plan.rows:
        with_prompt, without = (unet(x * row.c_in, row.timestep, one).sample for one in (prompt, empty))
        denoised = x - row.sigma * (without + 2 * (with_prompt - without))
        x, last = row.a * x + row.b * denoised + row.c * last, denoised
    return x
