"""Settings of fit that follow from the base and the number of pictures."""

from __future__ import annotations

import json

import pytest

from trainer.fitting.presets import FIT_PRESETS, preset_for, steps_for
from trainer.fitting.settings import ClassTrainingSettings


def test_steps_grow_with_the_pictures_within_limits():
    assert [steps_for(count) for count in (5, 31, 40, 500)] == [200, 310, 400, 600]


def test_a_given_option_overrides_the_preset():
    settings = ClassTrainingSettings()
    found = FIT_PRESETS["small"].applied(settings, {"batch_size", "snr_gamma"}, 31)
    assert (found.loop.steps, found.loop.batch_size, found.loop.ema_decay) == (310, 1, 0.99)
    assert (found.options.symmetries, found.options.snr_gamma) == (True, None)
    assert FIT_PRESETS["sd15"].applied(settings, set(), 31) == settings


@pytest.mark.parametrize(("preset", "ema"), [([], 0.99), (["--preset", "sd15"], 0.0)])
def test_fit_takes_the_preset_that_suits_the_base(preset, ema, in_process, whole_path, tmp_path):
    fit = ["trainer", "fit", whole_path / "prepared/cyt_mast", "--base", whole_path / "base", "--out", tmp_path]
    done = in_process(*fit, "--steps", 1, "--batch-size", 2, *preset)
    assert done.returncode == 0, done.stderr
    training = json.loads((tmp_path / "cyt_mast.json").read_text())["training"]
    assert (training["steps"], training["batch_size"], training["ema_decay"]) == (1, 2, ema)


def test_each_method_has_its_own_rate():
    found = preset_for("sd15", "lora").applied(ClassTrainingSettings(), {"steps"}, 31).loop
    assert (found.steps, found.rate_at(0)) == (20_000, 1e-4)
    assert preset_for("small", "full").applied(ClassTrainingSettings(), set(), 31).loop.steps == 310
    assert preset_for("sd15", "hypernetwork") == FIT_PRESETS["sd15"]
