"""The crop and the prompts that adapt chooses, with the reasons."""

from __future__ import annotations

import pytest

from trainer.adapting.choose import choose
from trainer.adapting.settings import AdaptSettings
from trainer.base.base import open_base
from trainer.base.card import BaseCard
from trainer.pictures.folders import find_pictures
from trainer.training.devices import Compute

CARD = BaseCard("tiny", prompts=("cyt mast", "cyt nep mast"), crop=0.7, nucleus_share=(0.01, 0.02, 0.03))


@pytest.fixture
def trained(whole_path):
    base = open_base(whole_path / "base")
    base.own_card = CARD
    return base


def chosen(base, whole_path, settings):
    return choose(base, find_pictures(whole_path / "prepared"), settings, Compute(), lambda *words: None)


def test_crop_and_prompts_come_from_the_base_with_figures(trained, whole_path):
    found = chosen(trained, whole_path, AdaptSettings())
    assert found.crop in (0.7, 1.0)
    assert found.prompts.keys() == {"cyt_mast", "cyt_nep_mast"}
    assert set(found.prompts.values()) <= set(CARD.prompts)
    words = "\n".join(found.reasons)
    assert all(word in words for word in ("1.0% to 3.0%", "at 1, ", "at 0.7", "'cyt nep mast'", "loss"))


def test_what_is_given_is_taken(trained, whole_path):
    found = chosen(trained, whole_path, AdaptSettings(crop=0.5, prompt="cyt mast"))
    assert (found.crop, set(found.prompts.values())) == (0.5, {"cyt mast"})


def test_a_base_that_knows_any_text_starts_at_the_name_of_the_class(trained, whole_path):
    trained.own_card = BaseCard("any text")
    found = chosen(trained, whole_path, AdaptSettings())
    assert (found.crop, found.prompts["cyt_nep_mast"]) == (1.0, "cyt nep mast")
