"""Captions from templates, caption files and tags."""

from __future__ import annotations

import pytest
import torch

from engine.errors import RequestError
from trainer.base.base import encode_prompts
from trainer.base.caption_files import read_templates
from trainer.base.prompts import Captions, report_captions


def test_captions(tmp_path):
    (tmp_path / "t.txt").write_text("a photo of [name], [filewords]\n\n[filewords]\n")
    generator = torch.Generator().manual_seed(0)
    captions = Captions("cyst", read_templates(tmp_path / "t.txt"), ("round, dark, large",))
    drawn = {captions.draw(0, generator) for _ in range(20)}
    assert drawn == {"a photo of cyst, round, dark, large", "round, dark, large"}
    shuffled = Captions("cyst", ("[filewords]",), ("a, b, c",), shuffle_tags=True, tag_dropout=0.3)
    drawn = [shuffled.draw(0, generator) for _ in range(200)]
    assert {tag for text in drawn for tag in text.split(", ") if tag} == {"a", "b", "c"}
    assert len(set(drawn)) > 8
    kept = sum(len([tag for tag in text.split(", ") if tag]) for text in drawn) / 600
    assert 0.6 < kept < 0.8


def test_every_caption_is_reported_that_the_text_encoder_does_not_read_as_it_was_written(base):
    captions = Captions("cyt mast", ("[name], [filewords]", "[name]"), ("round", "", "cyt mast cyt mast cyt", ""))
    whole = captions.whole()
    assert whole == ["cyt mast, round", "cyt mast, ", "cyt mast, cyt mast cyt mast cyt", "cyt mast"]
    found = report_captions(base, whole)
    assert (found.captions, found.cut_count) == (4, 2)
    assert found.cut == {"cyt mast, round": "cyt mast,", whole[2]: "cyt mast, cyt mast cyt"}
    assert found.unknown_words == ("round",)
    assert len(found.warnings) == 2
    assert report_captions(base, ["cyt mast"]).warnings == []


def test_a_long_prompt_is_embedded_as_its_used_part_is(base):
    long = "cyt mast cyt mast cyt mast neutrophil neutrophil"
    found = encode_prompts(base, [long, "cyt mast"])
    torch.testing.assert_close(found, encode_prompts(base, [base.read_prompt(long).used, "cyt mast"]))
    assert base.read_prompt(long).used == "cyt mast cyt mast cyt mast"


def test_weights_multiply_the_embeddings_of_their_tokens(base):
    plain, empty = encode_prompts(base, ["cyt mast", ""]).detach()
    weighted, again = encode_prompts(base, ["cyt (mast:1.5)", ""]).detach()
    torch.testing.assert_close(again, empty)
    torch.testing.assert_close(weighted[2], 1.5 * plain[2])
    torch.testing.assert_close(weighted[[0, 1, 3]], plain[[0, 1, 3]])


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("cyt (mast", "at character 5"),
        ("cyt BREAK mast", "holds for all noise levels"),
        ("[cyt|mast]", "holds for all noise levels"),
        ("[cyt:mast:0.5]", "holds for all noise levels"),
        ("(cyt mast cyt mast cyt mast cyt mast:1.1)", "at most 6 tokens"),
    ],
)
def test_captions_that_cannot_hold_for_all_noise_levels_are_refused(caption, words, base):
    with pytest.raises(RequestError, match="The caption") as caught:
        report_captions(base, [caption])
    assert words in str(caught.value)


def test_tags_with_brackets_stay_whole():
    captions = Captions("cyst", ("[name], (round, dark:1.2), large",), ("",), shuffle_tags=True)
    generator = torch.Generator().manual_seed(0)
    drawn = {captions.draw(0, generator) for _ in range(50)}
    assert len(drawn) == 6
    assert all("(round, dark:1.2)" in text for text in drawn)
