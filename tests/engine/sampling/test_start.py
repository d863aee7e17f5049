"""Where the trajectory of an initial picture begins: A1111's steps and start sigmas, and exact sigmas."""

from __future__ import annotations

import numpy as np
import pytest

from engine.sampling.samplers import SAMPLERS, plan_steps
from engine.sampling.schedules import NoiseSchedule
from engine.sampling.start import StartLevel
from tests.engine.sampling.applied import apply_rows

SD15 = NoiseSchedule(0.00085, 0.012, 1000)


def plan(start, steps=20, sampler="dpmpp_2m", schedule="karras"):
    return plan_steps(SD15, sampler=sampler, schedule=schedule, num_inference_steps=steps, start=start)


@pytest.mark.parametrize(
    ("strength", "evaluations"), [(0, 0), (0.3, 7), (0.5, 11), (0.75, 16), (0.95, 20), (1, 20), (0.29, 6)]
)
def test_a_strength_evaluates_the_steps_of_the_webui(strength, evaluations):
    """The table of AUTOMATIC1111 1.10.1 at 20 steps. Only its one step at strength 0 is left out."""
    assert len(plan(StartLevel(strength)).rows) == evaluations


@pytest.mark.parametrize(
    ("schedule", "strength", "sigma"),
    [
        ("karras", 0.3, 0.40),
        ("karras", 0.5, 1.48),
        ("karras", 0.75, 5.8),
        ("normal", 0.3, 0.88),
        ("normal", 0.5, 1.77),
        ("normal", 0.75, 4.9),
        ("exponential", 0.3, 0.21),
        ("exponential", 0.5, 0.77),
        ("exponential", 0.75, 3.9),
    ],
)
def test_the_start_sigma_of_a_strength_depends_on_the_schedule(schedule, strength, sigma):
    found = plan(StartLevel(strength), schedule=schedule)
    assert found.initial_scale == pytest.approx(sigma, rel=0.02)
    assert found.rows[0].sigma == found.initial_scale


@pytest.mark.parametrize(("steps", "strength"), [(20, 0.5), (7, 0.3), (1, 0.01), (12, 0.999)])
def test_exact_steps_keep_their_number(steps, strength):
    assert len(plan(StartLevel(strength, exact_steps=True), steps).rows) == steps


def test_a_sigma_is_the_first_level_and_the_schedule_follows():
    whole = [row.sigma for row in plan(None).rows]
    found = [row.sigma for row in plan(StartLevel(sigma=2.0)).rows]
    assert found == [2.0, *[sigma for sigma in whole if sigma < 2]]
    again = plan(StartLevel(sigma=whole[4]))
    assert [row.sigma for row in again.rows] == pytest.approx(whole[4:])


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_keeps_a_picture_that_the_model_sees_through(sampler):
    """A model that always finds the initial picture z returns z, whatever the noise at the start."""
    found = plan(StartLevel(0.5), sampler=sampler, schedule=SAMPLERS[sampler].schedule)
    rng = np.random.default_rng(0)
    z = rng.standard_normal(1000)
    first = z + found.initial_scale * rng.standard_normal(1000)
    x = apply_rows(found.rows, first, lambda u, sigma: z, (rng.standard_normal(1000) for _ in found.rows))
    spread = 0.2 if sampler == "langevin" else 0.05
    assert np.abs(x - z).std() < spread
