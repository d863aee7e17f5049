"""The card of a base in a merged folder: what a new bundle takes from it."""

from __future__ import annotations

import json

import pytest

from engine.errors import RequestError
from exporter.card import base_facts, defaults_of, differing_settings, read_card
from exporter.settings import BundleSettings

CARD = {"description": "a base", "licence": "CC0", "num_inference_steps": 20, "guidance_scale": 2.0}
CARD |= {"guidance_interval": [2.0, 6.0]}


def test_a_bundle_takes_the_settings_of_the_card_unless_others_are_given():
    assert defaults_of({}, BundleSettings())["guidance_scale"] == 7.0
    assert defaults_of(CARD, BundleSettings()) == {
        "num_inference_steps": 20,
        "guidance_scale": 2.0,
        "guidance_interval": [2.0, 6.0],
        "batch_size": 8,
    }
    assert defaults_of(CARD, BundleSettings(guidance_scale=5.0))["guidance_scale"] == 5.0


def test_given_settings_that_differ_are_named_with_both_values():
    given = BundleSettings(guidance_scale=7.0, num_inference_steps=20)
    assert differing_settings(CARD, given) == ["--guidance-scale 7 instead of 2, which suits the base"]
    assert differing_settings({}, given) == []


def test_the_base_is_described_by_its_card_or_by_the_option():
    assert base_facts(CARD, None) == {"base": "a base", "base_card": CARD}
    assert base_facts(CARD, "mine") == {"base": "mine", "base_card": CARD}
    assert base_facts({}, None) == {"base": "not stated"}


@pytest.mark.parametrize("text", ["[]", "{"])
def test_an_unreadable_card_is_refused(text, tmp_path):
    assert read_card(tmp_path) == {}
    (tmp_path / "base.json").write_text(text)
    with pytest.raises(RequestError, match=r"base\.json"):
        read_card(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(CARD))
    assert read_card(tmp_path) == CARD
