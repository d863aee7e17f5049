"""The WebUI's `rate:step` lists, right and wrong."""

from __future__ import annotations

import math

import pytest

from engine.errors import RequestError
from trainer.training.schedule import Cosine, parse_steps

RIGHT = {
    "1e-5": {0: 1e-5, 10**6: 1e-5},
    "0.005:100, 1e-3:1000, 1e-5": {0: 0.005, 99: 0.005, 100: 1e-3, 999: 1e-3, 1000: 1e-5, 10**6: 1e-5},
    "0.5:10": {0: 0.5, 9: 0.5, 10: 0.5},
    "1e-4:3,1e-5:-1": {2: 1e-4, 3: 1e-5, 10**6: 1e-5},
    " 2 : 7 ,1": {6: 2, 7: 1},
}
WRONG = [
    "",
    ",",
    "x",
    "1e-4:",
    "1e-4:x",
    "1e-4:1.5",
    "0",
    "-1",
    "nan",
    "inf",
    "1:5,2:5",
    "1:5,2:3",
    "1:0",
    "1,2",
    "1:-1,2",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_lists(text):
    schedule = parse_steps("--learning-rate", text)
    for step, value in RIGHT[text].items():
        assert schedule.at(step, 100) == value


@pytest.mark.parametrize("text", WRONG)
def test_wrong_lists_name_the_option_and_the_part(text):
    with pytest.raises(RequestError, match="--learning-rate"):
        parse_steps("--learning-rate", text)


def test_cosine():
    schedule = Cosine(2.0, warmup=4, final_share=0.1)
    assert [schedule.at(step, 104) for step in range(4)] == [0.5, 1, 1.5, 2]
    assert schedule.at(54, 104) == pytest.approx(2 * (0.1 + 0.9 * 0.5))
    assert schedule.at(104, 104) == pytest.approx(0.2)
    assert all(math.isfinite(schedule.at(step, 1)) for step in range(3))
