"""Learning a table on a tiny merged folder."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict

import numpy as np
import pytest
import torch

from engine.sampling.learned import LearnedTable
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule
from trainer.tables.learn import learn_table
from trainer.tables.parameters import TableParameters
from trainer.tables.settings import TableSettings, TeacherSettings
from trainer.tables.subjects import open_subjects
from trainer.tables.teacher import FollowRequest
from trainer.training.devices import Compute
from trainer.training.outputs import Outputs

NOISE = NoiseSchedule(0.00085, 0.012, 1000)
TEACHER = TeacherSettings(4, guidance_scale=2.0, guidance_interval=(0.01, 1.0))
SETTINGS = TableSettings(rows=2, pictures=4, steps=12, batch_size=2, learning_rate=0.02)


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


@pytest.fixture(scope="module")
def merged(whole_path):
    return [whole_path / f"merged/{name}" for name in ("cyt_mast", "cyt_nep_mast")]


@pytest.fixture
def learn(in_process, merged, tmp_path):
    """Learn a table of two rows for two classes into a file."""

    def run(name, *options):
        command = []
        for key, value in {**asdict(TEACHER), **asdict(SETTINGS)}.items():
            command += [f"--{key.replace('_', '-')}", *(value if isinstance(value, tuple) else [value])]
        return in_process("trainer", "table", *merged, *command, "--out", tmp_path / name, *options)

    return run


def test_a_stopped_training_continues_to_the_same_bytes(learn, merged, tmp_path):
    """The table, which is nearer to its teacher than DPM++ 2M, also if the best one was found before the stop."""
    done = learn("whole/table.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "whole/table.json").read_text())
    assert len(LearnedTable.of_record(found, NOISE).rows) == 2
    assert found["error"] < 0.9 * found["error_of_dpmpp_2m"]
    assert found["evaluations"] < found["evaluations_of_the_teacher"]

    stop, steps, names = threading.Event(), [], set()

    def progress(name, done, total, *values):
        names.add(name)
        if name == "table":
            steps.append(done)
            if done == 11:
                stop.set()

    outputs = Outputs(tmp_path / "cut", "table")
    request = FollowRequest(outputs, TEACHER, SETTINGS, Compute(), stop, progress)
    early = learn_table(open_subjects(merged), request)
    assert (steps, names) == (list(range(1, 12)), {"teacher", "table"})
    assert (early["steps_done"], found["steps_done"]) == (11, SETTINGS.steps)
    done = learn("cut/table.json")
    assert done.returncode == 2
    assert "--resume" in done.stderr
    done = learn("cut/table.json", "--resume")
    assert done.returncode == 0, done.stderr
    assert "teacher" not in done.stderr
    assert json.loads(outputs.record.read_text()) != early
    assert outputs.record.read_bytes() == (tmp_path / "whole/table.json").read_bytes()


def test_a_file_that_would_be_replaced_or_is_no_json_is_refused(learn, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    done = learn("mine.json")
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    done = learn("table.txt")
    assert done.returncode == 2
    assert "NAME.json" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]
