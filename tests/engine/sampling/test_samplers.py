"""Sampler tables: k-diffusion's values (tests/golden/make_k_diffusion.py), diffusers live, equalities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.sampling.guidance import guide
from engine.sampling.samplers import LANGEVIN, SAMPLERS, Langevin, plan_steps
from engine.sampling.schedules import SCHEDULES
from engine.sampling.stages import stages_of
from engine.sampling.stochastic import langevin
from tests.engine.sampling.applied import apply_rows, rows_of
from tests.engine.sampling.golden import GOLDEN, NOISE, RUNS

MEAN, VARIANCE = GOLDEN["mean"], GOLDEN["std"] ** 2
SIGMAS = np.append(SCHEDULES["karras"](NOISE, 20), 0.0)
OLDER = ("dpmpp_2m", "euler", "euler_a")


def denoise_gaussian(x, sigma):
    """The denoiser of N(mean, std^2), E[x0 | x]."""
    return (VARIANCE * x + sigma**2 * MEAN) / (VARIANCE + sigma**2)


def apply_stages(name, sigmas, x, noise=()):
    return apply_rows(rows_of(SAMPLERS[name].stages(sigmas)), x, denoise_gaussian, noise)


def apply_plan(plan, noise):
    """noise: the first latents' and then what each row draws."""
    return apply_rows(plan.rows, noise[0] * plan.initial_scale, denoise_gaussian, noise[1:])


@pytest.mark.parametrize("name", sorted(GOLDEN["runs"][0]["results"]))
@pytest.mark.parametrize("run", RUNS)
def test_samplers_agree_with_k_diffusion_on_a_gaussian(run, name):
    sigmas = np.array(run["sigmas"]["karras"])
    start = np.array(GOLDEN["noise"]) * sigmas[0]
    found = apply_stages(name, sigmas, start, np.array(run["noise"]))
    np.testing.assert_allclose(found, run["results"][name], rtol=0, atol=1e-6)


def test_ddim_is_euler_and_ddpm_is_euler_a_on_equal_sigmas():
    for sigmas in (SIGMAS, SIGMAS[:-1]):
        for one, other, tolerance in (("ddim", "euler", 1e-12), ("ddpm", "euler_a", 1e-7)):
            first, second = ([stage.x for stage in SAMPLERS[name].stages(sigmas)] for name in (one, other))
            np.testing.assert_allclose(first, second, rtol=0, atol=tolerance)


def test_the_native_grids_differ():
    """k-diffusion starts at sigma_max, DDPM and DDIM at sqrt(1 + sigma^2); DDIM ends above 0."""
    plans = {
        name: plan_steps(NOISE, sampler=name, schedule=SAMPLERS[name].schedule, num_inference_steps=20)
        for name in SAMPLERS
    }
    for name in OLDER:
        assert plans[name].initial_scale == plans[name].rows[0].sigma
    for name in ("ddim", "ddpm"):
        assert plans[name].initial_scale == pytest.approx(np.hypot(1, plans[name].rows[0].sigma))
        assert plans[name].rows[0].timestep == pytest.approx(951)
    assert plans["ddpm"].rows[-1].a == pytest.approx(0, abs=1e-12)
    assert plans["ddim"].rows[-1].a > 0.1


CONFIGURATION = {
    "num_train_timesteps": NOISE.num_train_timesteps,
    "beta_start": NOISE.beta_start,
    "beta_end": NOISE.beta_end,
    "beta_schedule": "scaled_linear",
}
VARIANCE_PRESERVING = {"clip_sample": False, "steps_offset": 1, "timestep_spacing": "leading"}


def replay(monkeypatch, module, noise):
    """Let a diffusers scheduler draw this noise."""
    left = iter(noise)
    path = f"diffusers.schedulers.{module}.randn_tensor"
    monkeypatch.setattr(path, lambda *_, **__: torch.from_numpy(next(left)))


# diffusers' way of making arrays of tensors.
OLD_ARRAYS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@OLD_ARRAYS
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_variance_preserving_samplers_agree_with_diffusers(name, steps, monkeypatch):
    noise = np.random.default_rng(0).standard_normal((steps + 1, 1, 8))
    if name == "ddim":
        scheduler = DDIMScheduler(**CONFIGURATION, **VARIANCE_PRESERVING, set_alpha_to_one=False)
    else:
        scheduler = DDPMScheduler(**CONFIGURATION, **VARIANCE_PRESERVING)
        replay(monkeypatch, "scheduling_ddpm", noise[1:])
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(steps)
    latents = torch.from_numpy(noise[0])
    for t in scheduler.timesteps:
        abar = float(scheduler.alphas_cumprod[t])
        x, sigma = latents / abar**0.5, ((1 - abar) / abar) ** 0.5
        eps = (x - denoise_gaussian(x, sigma)) / sigma
        latents = scheduler.step(eps, t, latents).prev_sample
    plan = plan_steps(NOISE, sampler=name, schedule="leading", num_inference_steps=steps)
    np.testing.assert_allclose([row.timestep for row in plan.rows], scheduler.timesteps, atol=1e-9)
    # diffusers holds its betas in float32.
    np.testing.assert_allclose(apply_plan(plan, noise), latents.numpy(), rtol=0, atol=2e-4)


LEADING = {"steps_offset": 1, "timestep_spacing": "leading"}


@OLD_ARRAYS
@pytest.mark.parametrize("steps", [3, 5, 20])
@pytest.mark.parametrize("name", ["plms", "unipc", "lcm"])
def test_further_samplers_agree_with_diffusers(name, steps, monkeypatch):
    noise = np.random.default_rng(0).standard_normal((steps + 1, 1, 8))
    if name == "plms":
        scheduler = PNDMScheduler(**CONFIGURATION, **LEADING, skip_prk_steps=True, set_alpha_to_one=False)
    elif name == "unipc":
        options = {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}
        scheduler = UniPCMultistepScheduler(**CONFIGURATION, timestep_spacing="linspace", **options)
    else:
        scheduler = LCMScheduler(**CONFIGURATION, clip_sample=False)
        replay(monkeypatch, "scheduling_lcm", noise[1:])
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(steps)
    latents, sigmas = torch.from_numpy(noise[0]), []
    for i, t in enumerate(scheduler.timesteps):
        abar = float(scheduler.alphas_cumprod[t])
        sigma = float(scheduler.sigmas[i]) if name == "unipc" else ((1 - abar) / abar) ** 0.5
        x = latents * (1 + sigma**2) ** 0.5
        sigmas.append(sigma)
        eps = (x - denoise_gaussian(x, sigma)) / sigma
        latents = scheduler.step(eps, t, latents, return_dict=False)[0].double()
    if name == "plms":
        # Its second timestep stands twice, because the first step is evaluated twice.
        del sigmas[2]
    last = 0.0 if name == "lcm" else float(NOISE.sigmas[0])
    start = noise[0] * (1 + sigmas[0] ** 2) ** 0.5
    found = apply_stages(name, np.array([*sigmas, last]), start, noise[1:]) / (1 + last**2) ** 0.5
    # diffusers holds its betas in float32.
    np.testing.assert_allclose(found, latents.numpy(), rtol=0, atol=2e-4)


@OLD_ARRAYS
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("name", ["dpmpp_2m", "euler", "euler_a"])
def test_sigma_space_samplers_agree_with_diffusers(name, steps, monkeypatch):
    noise = np.random.default_rng(0).standard_normal((steps + 1, 8))
    if name == "euler":
        scheduler = EulerDiscreteScheduler(**CONFIGURATION, use_karras_sigmas=True)
    elif name == "euler_a":
        scheduler = EulerAncestralDiscreteScheduler(**CONFIGURATION, timestep_spacing="linspace")
        replay(monkeypatch, "scheduling_euler_ancestral_discrete", noise[1:])
    else:
        scheduler = DPMSolverMultistepScheduler(**CONFIGURATION, use_karras_sigmas=True, euler_at_final=False)
    scheduler.set_timesteps(steps)
    sigmas = scheduler.sigmas.double().numpy()
    schedule = "normal" if name == "euler_a" else "karras"
    # diffusers interpolates the model's grid in sigma, k-diffusion in log sigma, so its own sigmas are used here.
    np.testing.assert_allclose(sigmas[:-1], SCHEDULES[schedule](NOISE, steps), rtol=2e-3)
    x = torch.from_numpy(noise[0]) * sigmas[0]
    for i, t in enumerate(scheduler.timesteps):
        scale = (1 + sigmas[i] ** 2) ** 0.5 if name == "dpmpp_2m" else 1.0
        eps = (x - denoise_gaussian(x, sigmas[i])) / sigmas[i]
        following = (1 + sigmas[i + 1] ** 2) ** 0.5 if name == "dpmpp_2m" else 1.0
        x = scheduler.step(eps, t, x / scale).prev_sample * following
    found = apply_stages(name, sigmas, noise[0] * sigmas[0], noise[1:])
    np.testing.assert_allclose(found, x.numpy(), rtol=0, atol=2e-4)


SCHEDULES_OF_ALL = ("karras", "normal", "exponential", "sgm_uniform")
FIRST = (*OLDER, "ddim", "ddpm", LANGEVIN)
DRAWN = [(name, schedule) for name in FIRST for schedule in SCHEDULES_OF_ALL]
# LCM draws too narrow a distribution, unless the model is a consistency model.
DRAWN += [(name, sampler.schedule) for name, sampler in SAMPLERS.items() if name not in (*FIRST, "lcm")]


@pytest.mark.parametrize(("name", "schedule"), DRAWN)
def test_every_sampler_draws_the_gaussian(name, schedule):
    """Mean and deviation of many samples; the tolerance is the discretisation's at these steps."""
    steps = 40
    settings = Langevin(step_size=0.25 * SCHEDULES[schedule](NOISE, steps)[-1] ** 2, steps_per_level=40)
    plan = plan_steps(NOISE, sampler=name, schedule=schedule, num_inference_steps=steps, langevin_settings=settings)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((len(plan.rows) + 1, 4000))
    found = apply_plan(plan, noise)
    assert found.mean() == pytest.approx(MEAN, abs=0.05)
    # Euler's method in sigma^2 is the least accurate.
    assert found.std() == pytest.approx(GOLDEN["std"], rel=0.23 if name == "probability_flow" else 0.12)


def test_langevin_with_small_steps_settles_at_the_levels_distribution():
    """At one level the stationary distribution is N(mean, std^2 + sigma^2), as steps go to 0."""
    sigma, count = 0.5, 400
    sigmas = np.append(np.full(count, sigma), 0.0)
    noise = np.random.default_rng(0).standard_normal((count + 1, 20_000))
    stages = stages_of(lambda sigmas: langevin(sigmas, 0.05 * sigma**2))(sigmas)
    found = apply_rows(rows_of(stages), noise[0] * sigma, denoise_gaussian, noise[1:])
    assert found.std() == pytest.approx(np.sqrt(VARIANCE + sigma**2), rel=0.02)
    assert found.mean() == pytest.approx(MEAN, abs=0.02)


def test_ddim_cfg_plus_plus_returns_noise_without_guidance(tiny_bundle):
    """Its step D_lambda + sigma_next (x - D_uncond) / sigma is a DDIM step with another guidance scale."""
    options = {"guidance_scale": 7.0, "guidance_interval": (0.0, 1e6), "num_inference_steps": 6}
    job = make_job(open_bundle(str(tiny_bundle)), ["cyt_mast"], 1, settings_of(sampler="ddim_cfgpp", **options))
    x, cond, uncond = np.random.default_rng(0).standard_normal((3, 1, 4))
    rows = job.plan.rows
    for row, following, scale in zip(rows[:-1], rows[1:], job.scales[:-1], strict=True):
        eps = guide(np.concatenate([cond, uncond]), scale)
        found = row.a * x + row.b * (x - row.sigma * eps)
        denoised = x - row.sigma * (uncond + 7.0 / 12.5 * (cond - uncond))
        np.testing.assert_allclose(found, denoised + following.sigma * uncond, rtol=1e-5, atol=1e-5)
    assert job.changed(guidance_scale=1.0).scales == (1.0,) * 6
    assert np.isfinite(job.changed(schedule="karras").scales).all()


def test_restart_goes_up_again_once_or_twice():
    """As in the WebUI: 20 to 35 steps repeat 9 steps once, more repeat a quarter of them twice, fewer repeat none."""
    for steps, times in ((19, 0), (20, 1), (35, 1), (36, 2), (50, 2)):
        plan = plan_steps(NOISE, sampler="restart", schedule="karras", num_inference_steps=steps)
        sigmas = np.array([row.sigma for row in plan.rows])
        assert (np.diff(sigmas) > 0).sum() == times
        assert len(plan.rows) == 2 * steps - 1
        if times:
            top = sigmas[1:][np.diff(sigmas) > 0]
            assert 1 < top[0] < 3


def test_langevin_repeats_each_level():
    settings = Langevin(step_size=1e-4, steps_per_level=3)
    plan = plan_steps(
        NOISE, sampler="langevin", schedule="exponential", num_inference_steps=5, langevin_settings=settings
    )
    levels = [row.sigma for row in plan.rows]
    assert len(levels) == 15
    assert levels[0] == levels[2] > levels[3]
    assert all(row.a + row.b == pytest.approx(1) for row in plan.rows)


@pytest.mark.parametrize(
    ("name", "factor"), [("dpmpp_2m", 2), ("heun", 3), ("dpm2", 3), ("lms", 4), ("unipc", 2), ("probability_flow", 1.3)]
)
def test_a_finer_table_comes_nearer_to_the_exact_solution(name, factor):
    """The probability-flow ODE of a Gaussian is solved by x = mean + (x_T - mean) sqrt(std^2 / (std^2 + sigma_T^2))."""

    def error(steps: int) -> float:
        sigmas = np.append(SCHEDULES["karras"](NOISE, steps), 0.0)
        start = np.array(GOLDEN["noise"]) * sigmas[0]
        exact = MEAN + (start - MEAN) * np.sqrt(VARIANCE / (VARIANCE + sigmas[0] ** 2))
        return float(np.abs(apply_stages(name, sigmas, start) - exact).max())

    assert error(40) < error(20) / factor < error(10) / factor**2


def test_the_last_step_returns_the_denoised_picture():
    plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=20)
    last = plan.rows[-1]
    assert (last.a, last.b, last.c, last.d) == (0, 1, 0, 0)
    assert plan.initial_scale == plan.rows[0].sigma == pytest.approx(GOLDEN["sigma_max"])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_single_step_is_allowed(name):
    plan = plan_steps(NOISE, sampler=name, schedule=SAMPLERS[name].schedule, num_inference_steps=1)
    assert np.isfinite([row.a + row.b + row.d for row in plan.rows]).all()


def test_the_plans_hash_names_its_numbers():
    def digest(sampler, scale):
        plan = plan_steps(NOISE, sampler=sampler, schedule="karras", num_inference_steps=5)
        return plan.sha256((scale,) * len(plan.rows))

    assert digest("euler", 2.0) == digest("euler", 2.0)
    assert len({digest("euler", 2.0), digest("euler", 3.0), digest("dpmpp_2m", 2.0)}) == 3
    assert digest("euler", 2.0) != digest("heun", 2.0)
