"""Warnings about pictures that do not suit a base."""

from __future__ import annotations

import pytest

from trainer.base.card import BaseCard
from trainer.base.suits import misfits
from trainer.pictures.framing import Shares

CARD = BaseCard("a base", prompts=("ig", "monocyte"), crop=0.7, nucleus_share=(0.05, 0.13, 0.31))


def test_a_class_that_suits_the_base_gives_no_warning():
    assert misfits(CARD, "ig", Shares(0.1, 0.2, 0.3)) == []
    assert misfits(BaseCard("any text, any framing"), "cyst", Shares(0.001, 0.002, 0.003)) == []


@pytest.mark.parametrize(("median", "word"), [(0.02, "small"), (0.5, "large")])
def test_cells_of_another_size_are_named_with_numbers(median, word):
    (sentence,) = misfits(CARD, "ig", Shares(median, median, median))
    assert word in sentence
    assert f"{median:.1%}" in sentence
    assert "5.0% to 31.0%" in sentence


def test_an_unknown_prompt_is_named_with_the_known_ones():
    (sentence,) = misfits(CARD, "cyst", None)
    assert "'cyst'" in sentence
    assert "ig, monocyte" in sentence
