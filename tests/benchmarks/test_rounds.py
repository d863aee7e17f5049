"""Rounds are interleaved, and only systems that agree with the reference are timed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.rounds import Opened, System, compare
from engine.errors import CytosynthError


def systems(calls, **seconds):
    """Systems that note when they run and say how long it took."""

    def system(name):
        def run():
            calls.append(name)
            return seconds[name], np.ones(2)

        return System(name, name.split()[0], run)

    return Opened(systems=[system(name) for name in seconds])


def test_rounds_are_interleaved_and_a_slow_system_runs_once():
    calls: list[str] = []
    opened = systems(calls, **{"diffusers float32": 1.0, "slow": 9.0, "fast": 0.5})
    found = compare(opened, "step", rounds=3, cap_s=5.0)
    assert found["seconds"] == {"diffusers float32": [1.0] * 3, "slow": [9.0], "fast": [0.5] * 3}
    assert found["program"] == {"diffusers float32": "diffusers", "slow": "slow", "fast": "fast"}
    reference, slow, fast = "diffusers float32", "slow", "fast"
    first = [reference, reference, slow, slow, fast, fast]
    assert calls == [reference, slow, fast, *first, *[fast, fast, reference, reference] * 2]


def test_a_system_that_warms_up_by_itself_runs_once_a_round():
    calls: list[str] = []
    opened = systems(calls, **{"diffusers float32": 1.0, "own": 0.5})
    opened.systems[1] = replace(opened.systems[1], warms_up=True)
    compare(opened, "step", rounds=2, cap_s=5.0)
    assert (calls.count("diffusers float32"), calls.count("own")) == (5, 3)


def test_a_system_that_fails_between_rounds_leaves_the_others_be():
    opened = systems([], **{"diffusers float32": 1.0})
    answers = iter([(0.5, np.ones(2))] * 3)

    def run():
        if (answer := next(answers, None)) is None:
            raise RuntimeError("out of memory")
        return answer

    opened.systems.append(System("other", "other", run))
    found = compare(opened, "step", rounds=3, cap_s=5.0)
    assert found["seconds"] == {"diffusers float32": [1.0] * 3}
    assert found["not_measured"] == {"other": "out of memory"}


@pytest.mark.parametrize(("tolerance", "timed"), [(None, False), (20.0, True)])
def test_a_system_may_have_a_tolerance_of_its_own(tolerance, timed):
    """28 dB between pictures, of which 30 are asked."""
    picture = np.full((1, 8, 8, 3), 100, np.uint8)

    def system(name, result):
        return System(name, "own", lambda: (0.5, result), tolerance=tolerance)

    opened = Opened(systems=[system("diffusers float32", picture), system("other", picture + np.uint8(10))])
    found = compare(opened, "picture", rounds=1, cap_s=5.0)
    assert ("other" in found["seconds"], "other" in found["refused"]) == (timed, not timed)


def test_nothing_is_compared_without_the_reference():
    with pytest.raises(CytosynthError, match="diffusers float32"):
        compare(systems([], fast=1.0), "step", rounds=1, cap_s=5.0)
