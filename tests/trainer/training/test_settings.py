"""Settings of a training: their ranges, their form in records, and which checkpoints they continue."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from engine.errors import RequestError
from trainer.training.schedule import Cosine, constant, parse_steps
from trainer.training.settings import LoopSettings

SETTINGS = LoopSettings(30, 4, learning_rate=constant(2e-3))
RECORDED = {
    "steps": 30,
    "batch_size": 4,
    "learning_rate": {"pairs": ((2e-3, math.inf),)},
    "weight_decay": 0.01,
    "accumulation": 1,
    "clipping": "off",
    "clip_at": {"pairs": ((0.1, math.inf),)},
    "ema_decay": 0.0,
    "seed": 0,
    "betas": (0.9, 0.999),
}


def test_records_and_checkpoints_keep_their_format():
    assert SETTINGS.as_json() == RECORDED
    assert list(SETTINGS.as_json()) == list(RECORDED)
    cosine = replace(SETTINGS, lr_scheduler="cosine", lr_warmup_steps=7)
    assert cosine.as_json() == {**RECORDED, "learning_rate": {"peak": 2e-3, "warmup": 7, "final_share": 0.05}}


def test_cosine_takes_its_peak_and_warm_up_from_the_settings():
    cosine = replace(SETTINGS, lr_scheduler="cosine", lr_warmup_steps=0)
    assert cosine.schedule == Cosine(2e-3, 1)
    assert cosine.rate_at(5) == Cosine(2e-3, 1).at(5, 30)
    with pytest.raises(RequestError, match="a single rate"):
        replace(cosine, learning_rate=parse_steps("x", "1e-3:5,1e-4"))


def test_a_checkpoint_is_continued_only_if_no_value_depends_on_another_number_of_steps():
    without_betas = {name: value for name, value in RECORDED.items() if name != "betas"}
    assert SETTINGS.continues(RECORDED)
    assert SETTINGS.continues(without_betas)
    assert SETTINGS.continues({**RECORDED, "steps": 7})
    assert not SETTINGS.continues({**RECORDED, "batch_size": 5})
    cosine = replace(SETTINGS, lr_scheduler="cosine")
    assert cosine.continues(cosine.as_json())
    assert not cosine.continues({**cosine.as_json(), "steps": 7})


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"steps": 0}, "--steps"),
        ({"accumulation": 0}, "--gradient-accumulation"),
        ({"ema_decay": 1.0}, "--ema-decay"),
        ({"weight_decay": math.nan}, "--weight-decay"),
        ({"seed": 2**63}, "--seed"),
        ({"clipping": "x"}, "--clipping"),
        ({"lr_scheduler": "linear"}, "--lr-scheduler"),
    ],
)
def test_values_outside_their_range_name_their_option(values, flag):
    with pytest.raises(RequestError, match=flag):
        replace(SETTINGS, **values)
