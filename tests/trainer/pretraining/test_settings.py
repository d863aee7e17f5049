"""Settings of pretraining: loops of the stages, and errors that name the stage."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.pretraining.settings import CardSettings, DecoderStage, PretrainSettings, RefinerStage, UNetStage, VaeStage
from trainer.training.schedule import Cosine


@pytest.mark.parametrize("wrong", [{"licence": " "}, {"guidance_interval": (6.0, 2.0)}, {"crop": 0.0}])
def test_a_wrong_card_is_refused_before_the_training(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong)).replace("_", "-")):
        CardSettings(**wrong)


def test_each_stage_has_its_own_loop():
    stages = PretrainSettings(seed=3, vae=VaeStage(50, 16, 6e-4)).stages()
    assert stages.vae.schedule == Cosine(6e-4, 5)
    assert (stages.vae.seed, stages.vae.clipping, stages.vae.clip_at.at(0, 1)) == (3, "norm", 1.0)
    assert (stages.decoder.steps, stages.decoder.ema_decay, stages.decoder.betas) == (1800, 0.99, (0.5, 0.99))
    assert (stages.unet.schedule, stages.unet.ema_decay) == (Cosine(4e-4, 200), 0.999)


@pytest.mark.parametrize(("part", "none"), [("unet", UNetStage(0, 32, 4e-4)), ("decoder", DecoderStage(0, 8, 1e-4))])
def test_no_steps_keep_the_part_of_the_start_base(part, none):
    assert getattr(PretrainSettings(start_from="base", **{part: none}).stages(), part) is None
    with pytest.raises(RequestError, match=f"--{part}-steps"):
        PretrainSettings(**{part: none})


def test_no_refiner_steps_make_a_new_base_without_a_refiner():
    assert PretrainSettings(refiner=RefinerStage(0, 6, 1e-3)).stages().refiner is None


def test_a_base_for_trials_has_a_refiner_only_if_it_is_asked_for():
    assert PretrainSettings().stages().refiner.steps == 4000
    assert PretrainSettings(preset="tiny").stages().refiner is None
    assert PretrainSettings(preset="tiny", refiner=RefinerStage(7, 6, 1e-3)).stages().refiner.steps == 7


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"vae": VaeStage(0, 16, 6e-4)}, "--vae-steps"),
        ({"decoder": DecoderStage(5, 0, 6e-4)}, "--decoder-batch-size"),
        ({"unet": UNetStage(5, 5, 0)}, "--unet-learning-rate"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_errors_name_the_option_of_the_stage(values, flag):
    with pytest.raises(RequestError, match=flag):
        PretrainSettings(**values)
