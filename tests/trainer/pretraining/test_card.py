"""The card that pretrain writes: measured on its pictures, and joined with the card of its start."""

from __future__ import annotations

from trainer.base.card import BaseCard
from trainer.pictures.dataset import read_set
from trainer.pretraining.card import make_card, record_of_base
from trainer.pretraining.settings import CardSettings


def test_the_card_of_a_new_base_states_prompts_and_framing(whole_path):
    folder = whole_path / "prepared"
    card = make_card(CardSettings(licence="CC0", guidance_scale=3.0), [folder], read_set([folder]), None)
    assert card.prompts == ("cyt mast", "cyt nep mast")
    assert (card.licence, card.attribution, card.guidance_scale) == ("CC0", "not stated", 3.0)
    assert "32 of cyt_mast" in card.description
    low, median, high = card.nucleus_share
    assert 0.01 < low < median < high < 0.8


def test_a_base_that_continues_another_credits_both(whole_path):
    folder = whole_path / "prepared"
    start = BaseCard("cells", "CC BY 4.0", "A. B.", prompts=("ig", "cyt mast"))
    card = make_card(CardSettings(licence="CC0", attribution="C. D."), [folder], read_set([folder]), start)
    assert (card.licence, card.attribution) == ("CC BY 4.0; CC0", "A. B.; C. D.")
    assert card.prompts == ("ig", "cyt mast", "cyt nep mast")
    assert card.description.startswith("cells; ")


def test_the_crop_is_the_one_that_prepare_recorded(in_process, whole_path, tmp_path):
    for crop in (0.7, 0.8):
        source = whole_path / "phantom/pictures"
        done = in_process("trainer", "prepare", source, tmp_path / f"{crop}", "--size", 32, "--crop", crop)
        assert done.returncode == 0, done.stderr
    pictures = read_set([tmp_path / "0.7"])
    assert make_card(CardSettings(), [tmp_path / "0.7"], pictures, None).crop == 0.7
    assert make_card(CardSettings(), [tmp_path / "0.7", tmp_path / "0.8"], pictures, None).crop is None


def test_the_record_of_a_start_is_found_by_name_and_by_folder(whole_path):
    assert record_of_base("cells")["start"]["preset"] == "small"
    assert record_of_base(whole_path / "base")["preset"] == "tiny"
