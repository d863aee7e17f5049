"""Learned tables as data: what is read, and what is refused."""

from __future__ import annotations

import math

import pytest

from engine.sampling.learned import LearnedTable
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule

NOISE = NoiseSchedule(0.00085, 0.012, 1000)


def rows_of(steps=4, **changes):
    """The rows of DPM++ 2M, with changes of the second one."""
    plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=steps)
    rows = [
        {"sigma": row.sigma, "timestep": row.timestep, "guidance_scale": 1.0, "a": row.a, "b": row.b, "c": row.c}
        for row in plan.rows
    ]
    rows[1] |= changes
    return rows


def test_a_table_of_the_numbers_of_a_sampler_is_its_plan():
    table = LearnedTable.parse(rows_of(), NOISE)
    assert table.plan() == plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=4)
    assert table.scales == (1.0,) * 4
    assert LearnedTable.parse(table.as_json(), NOISE) == table
    assert table.sha256 != LearnedTable.parse(rows_of(b=0.5), NOISE).sha256


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "not a list"),
        ("rows", "not a list"),
        ([{"sigma": 1.0}], "other fields"),
        (rows_of(sigma="much"), "sigma is no finite number"),
        (rows_of(a=math.nan), "a is no finite number"),
        (rows_of(b=True), "b is no finite number"),
        (rows_of(sigma=20.0), "sigma 20 is not in"),
        (rows_of(sigma=0.001), "sigma 0.001 is not in"),
        (rows_of(sigma=0.03), "do not descend"),
        (rows_of(timestep=1000), "timestep 1000"),
        (rows_of(guidance_scale=-1), "guidance_scale -1"),
        (rows_of(b=101), "coefficient above 100"),
        (rows_of(c2=0.1), "before the first row"),
        (rows_of(path="/etc/passwd"), "other fields"),
    ],
)
def test_other_rows_are_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        LearnedTable.parse(rows, NOISE)
