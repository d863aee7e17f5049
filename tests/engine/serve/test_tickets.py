import time

import pytest

from engine.serve.tickets import Cancelled, Steps, evaluations


def test_the_questions_of_a_loop_are_its_steps():
    steps = Steps(3)
    assert steps.done == 0
    for done in (0, 1, 2):
        assert not steps.is_set()
        assert steps.done == done
    steps.set()
    assert steps.is_set()


def test_a_second_pass_has_steps_of_its_own(service, drawing):
    once = service.submit(drawing(num_inference_steps=5))
    twice = service.submit(drawing(num_inference_steps=5, hires_scale=2.0, hires_steps=3))
    assert evaluations(once.job) == 5
    assert evaluations(twice.job) == 8
    assert twice.result(60)[0].description["width"] == 64


def test_the_state_and_the_progress_of_a_ticket(service, drawing):
    long = service.submit(drawing(3, num_inference_steps=80), task_id="mine")
    second = service.submit(drawing(seed=5))
    assert long.id == "mine"
    assert second.state == "waiting"
    assert second.position == 1
    assert second.progress().fraction == 0
    second.cancel()
    assert second.state == "cancelled"
    with pytest.raises(Cancelled):
        second.result(1)
    fractions = []
    while long.state != "done":
        fractions.append(long.progress().fraction)
        time.sleep(0.002)
        assert long.state in ("waiting", "running", "done")
    assert fractions == sorted(fractions)
    assert long.progress().fraction == 1
    assert any(0 < one < 1 for one in fractions)
