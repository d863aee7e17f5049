"""Learning a table on a tiny merged folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from engine.sampling.learned import LearnedTable
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule
from trainer.tables.parameters import TableParameters

NOISE = NoiseSchedule(0.00085, 0.012, 1000)


def test_a_table_begins_as_dpmpp_2m():
    plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=8)
    table = TableParameters(plan, (1.0, 2.0, 2.0, *[1.0] * 5), NOISE).table()
    assert table.wrong(NOISE) == ""
    assert table.scales[:4] == (1, 2, 2, 1)
    for found, wanted in zip(table.plan().rows, plan.rows, strict=True):
        assert found.sigma == pytest.approx(wanted.sigma, rel=1e-5)
        assert found.timestep == pytest.approx(wanted.timestep, abs=1e-2)
        np.testing.assert_allclose(found.x, wanted.x, atol=1e-5)


def test_levels_descend_and_coefficients_keep_a_constant_for_any_parameters():
    plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=6)
    parameters = TableParameters(plan, (1.0,) * 6, NOISE)
    torch.manual_seed(0)
    for parameter in (parameters.a, parameters.pasts, parameters.shifts):
        parameter.data += 0.1 * torch.randn_like(parameter)
    table = parameters.table()
    assert table.wrong(NOISE) == ""
    for row in table.rows:
        assert row.a + row.b + row.c + row.c2 + row.c3 == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_learned_table_is_nearer_to_its_teacher_than_dpmpp_2m(in_process, whole_path, tmp_path):
    merged = whole_path / "merged/cyt_mast"
    quick = ("--rows", 3, "--teacher-steps", 5, "--steps", 12, "--pictures", 6, "--learning-rate", "0.02")
    out = tmp_path / "table.json"
    done = in_process("trainer", "table", merged, whole_path / "merged/cyt_nep_mast", *quick, "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert len(LearnedTable.parse(found["rows"], NOISE).rows) == 3
    assert found["error"] < 0.9 * found["error_of_dpmpp_2m"]
    assert found["evaluations"] < found["evaluations_of_the_teacher"]
    done = in_process("trainer", "table", merged, *quick, "--out", out)
    assert done.returncode == 2
    assert "an existing file" in done.stderr
