"""Prior preservation: its loss is added with its weight, and its pictures are checked first."""

from __future__ import annotations

import json

import pytest

from trainer.base.base import open_base
from trainer.fitting.class_training import ClassRequest
from trainer.fitting.fit import fit
from trainer.fitting.settings import ClassTrainingSettings, MethodSettings, PriorSettings
from trainer.training.schedule import constant
from trainer.training.settings import LoopSettings


def test_the_loss_on_the_prior_counts_with_its_weight(whole_path, tmp_path):
    losses = []
    for weight in (None, 1.0, 3.0):
        settings = ClassTrainingSettings(loop=LoopSettings(1, 2, constant(1e-3)))
        request = ClassRequest(whole_path / "prepared/cyt_mast", tmp_path / str(weight), settings)
        prior = PriorSettings() if weight is None else PriorSettings(whole_path / "prepared/cyt_nep_mast", None, weight)
        facts = fit(open_base(whole_path / "base"), request, None, MethodSettings("lora", 2, prior=prior))
        losses.append(facts["training"]["loss_first"])
    alone, once, thrice = losses
    assert once > alone
    assert thrice - alone == pytest.approx(3 * (once - alone), rel=1e-4)
    assert facts["prior"] == {"pictures": facts["prior"]["pictures"], "prompt": "cyt nep mast", "weight": 3.0}


def test_a_prior_is_recorded_and_part_of_what_a_checkpoint_depends_on(fit_it, whole_path, tmp_path):
    options = ["--steps", 1, "--method", "lora", "--prior-pictures", whole_path / "prepared/cyt_nep_mast"]
    done = fit_it("out", *options, "--prior-prompt", "cyt")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/cyst.json").read_text())["prior"]["prompt"] == "cyt"
    done = fit_it("out", *options, "--prior-prompt", "cyt nep", "--resume", "--steps", 2)
    assert done.returncode == 2
    assert "its data, base and model" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prior-prompt", "cell"], "no --prior-pictures"),
        (["--prior-pictures", "nowhere"], "nowhere"),
        (["--prior-weight", 0], "--prior-weight"),
    ],
)
def test_a_wrong_prior_is_refused_before_anything_is_written(options, words, fit_it, tmp_path):
    done = fit_it("out", *options)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
