"""The card of a base: written, read, and refused with the value that is wrong."""

from __future__ import annotations

import json

import pytest

from engine.errors import RequestError
from trainer.base.base import open_base
from trainer.base.card import CARD_FILE, STABLE_DIFFUSION, BaseCard, read_card, write_card

CARD = BaseCard("a base", "CC0", "A. B.", prompts=("ig",), crop=0.7, nucleus_share=(0.1, 0.2, 0.3))


def test_a_card_is_read_as_it_was_written(tmp_path):
    write_card(CARD, tmp_path)
    assert read_card(tmp_path) == CARD
    assert read_card(tmp_path / "none") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": 2},
        {"licence": " "},
        {"fit_preset": "large"},
        {"nucleus_share": [0.3, 0.2, 0.1]},
        {"unknown": 1},
        {"guidance_interval": [6, 2]},
    ],
)
def test_a_wrong_value_is_named(wrong, tmp_path):
    (tmp_path / CARD_FILE).write_text(json.dumps({"description": "a base", **wrong}))
    with pytest.raises(RequestError, match=next(iter(wrong))):
        read_card(tmp_path)


def test_a_base_keeps_its_card_when_it_is_saved_and_opened(base, tmp_path):
    base.own_card = CARD
    base.save(tmp_path)
    assert open_base(tmp_path).card == CARD


def test_a_base_without_a_card_is_known_by_its_structure(base, tmp_path):
    assert (base.card.fit_preset, base.card.licence) == ("small", "not stated")
    base.save(tmp_path)
    assert not (tmp_path / CARD_FILE).exists()
    base.unet.register_to_config(cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280))
    assert base.card == STABLE_DIFFUSION
