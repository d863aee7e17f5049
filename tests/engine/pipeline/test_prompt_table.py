"""Prompts with weights, parts, chunks and changes, against torch: embeddings by transformers, steps by diffusers."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline, check_opening, noise_of
from engine.pipeline.prompt_table import read_prompt_table

SEEDS = [3, 4]
STEPS = 6


def job_of(bundle, **options):
    settings = {"batch_size": 2, "backend": "openvino", "precision": "f32", "sampler": "euler", "guidance_scale": 8.0}
    return make_job(bundle, ["cyt_mast"], 2, settings_of(num_inference_steps=STEPS, **{**settings, **options}))


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return open_bundle(str(tiny_bundle))


@pytest.fixture(scope="module")
def torch_base(whole_path):
    from trainer.base.base import open_base

    return open_base(whole_path / "merged/cyt_mast")


def embedded(base, text, weights=()):
    """Return the embeddings (T, D) of a text by the tokenizer and the text encoder of a base, times weights."""
    import torch

    length = base.tokenizer.model_max_length
    tokens = base.tokenizer([text], padding="max_length", max_length=length, return_tensors="pt").input_ids
    with torch.no_grad():
        states = base.text_encoder(tokens)[0][0]
    factors = torch.ones(length)
    for place, weight in weights:
        factors[place] = weight
    return states * factors[:, None]


def sampled(job, base, conditions, negative):
    """Return latents of Euler's method in torch. conditions: for each step the (weight, embeddings) of each part."""
    import torch

    x = torch.tensor(noise_of(job, "cyt_mast")(SEEDS).draw()) * job.plan.initial_scale
    for row, scale, parts in zip(job.plan.rows, job.scales, conditions, strict=True):

        def eps(context, x=x, row=row):
            with torch.no_grad():
                return base.unet(x * row.c_in, row.timestep, context.expand(len(x), -1, -1)).sample

        uncond = eps(negative)
        guided = uncond + sum(weight * scale * (eps(context) - uncond) for weight, context in parts)
        x = row.a * x + row.b * (x - row.sigma * guided)
    return x.numpy()


def cases(base):
    """Return for each prompt its parts in each step, and the embeddings of the negative prompt."""
    import torch

    mast, nep, empty = (embedded(base, text) for text in ("cyt mast", "cyt nep mast", ""))
    heavy = embedded(base, "cyt mast", [(2, 1.6)])
    every = [[(1.0, heavy)]] * STEPS
    return {
        "cyt (mast:1.6)": (every, empty),
        "cyt mast BREAK cyt nep mast": ([[(1.0, torch.cat([mast, nep]))]] * STEPS, empty),
        "cyt mast cyt mast cyt mast cyt": (
            [[(1.0, torch.cat([embedded(base, "cyt mast cyt mast cyt mast"), embedded(base, "cyt")]))]] * STEPS,
            empty,
        ),
        "cyt mast AND cyt nep mast: 0.5 AND BREAK": (
            [[(1.0, mast), (0.5, nep), (1.0, torch.cat([empty, empty]))]] * STEPS,
            empty,
        ),
        "[cyt mast:cyt nep mast:0.2]": ([[(1.0, mast)]] * 2 + [[(1.0, nep)]] * 4, empty),
        "[cyt mast|cyt nep mast]": ([[(1.0, text)] for text in (mast, mast, nep, mast, nep, mast)], empty),
    }


def drawn(job):
    with Pipeline(job, "cyt_mast", OpenVINOBackend(precision="f32")) as pipeline:
        return pipeline.generate_latents(SEEDS)


@pytest.fixture(scope="module")
def plain(bundle):
    """Latents of a prompt without any syntax."""
    return drawn(job_of(bundle, prompt="cyt mast"))


@pytest.mark.parametrize("place", range(6))
def test_the_latents_are_those_of_torch(place, bundle, torch_base, plain):
    prompt, (conditions, negative) = [*cases(torch_base).items()][place]
    job = job_of(bundle, prompt=prompt)
    wanted, found = sampled(job, torch_base, conditions, negative), drawn(job)
    # A tiny base hardly heeds its prompts, and the bundle holds float16 weights.
    assert np.linalg.norm(found - wanted) < 0.4 * np.linalg.norm(plain - wanted)


def test_a_step_without_guidance_takes_the_prompt_alone(bundle, torch_base):
    job = job_of(bundle, prompt="[cyt mast|cyt nep mast]", guidance_scale=1.0)
    found = drawn(job)
    conditions, negative = cases(torch_base)["[cyt mast|cyt nep mast]"]
    wanted = sampled(job, torch_base, conditions, negative)
    assert np.linalg.norm(found - wanted) < 3e-3 * np.linalg.norm(wanted)


def test_a_device_leaves_changing_prompts_to_the_host(bundle):
    job = job_of(bundle, prompt="[cyt mast:(cyt nep mast:1.2):0.5]", precision=None, backend="onnxruntime")
    results = []
    for backend in (ORTBackend(), OpenVINOBackend(precision="f32")):
        with Pipeline(job, "cyt_mast", backend) as pipeline:
            results.append(pipeline.generate_latents(SEEDS))
    assert np.linalg.norm(results[0] - results[1]) < 5e-3 * np.linalg.norm(results[1])


def test_a_backend_that_cannot_take_several_chunks_refuses_them(bundle):
    job = job_of(bundle, prompt="cyt mast BREAK cyt", precision=None)
    check_opening(job, OpenVINOBackend())
    with pytest.raises(RequestError, match="2 chunks of 8 tokens"):
        check_opening(job, ORTBackend())


def test_prompts_of_one_chunk_without_syntax_need_no_table(bundle):
    for options in ({}, {"prompt": "cyt mast"}, {"prompt": "a: b|c", "negative_prompt": ""}):
        assert read_prompt_table(job_of(bundle, **options), "cyt_mast", STEPS) is None
    table = read_prompt_table(job_of(bundle, prompt="[cyt:mast:2] (x)"), "cyt_mast", STEPS)
    assert len(table.contexts) == 3
    assert table.rows == ((0, 1),) * 3 + ((2, 1),) * 3
    job = job_of(bundle, prompt="cyt mast", negative_prompt="(cyt)")
    assert read_prompt_table(job, "cyt_mast", STEPS).weights == (1.0,)
