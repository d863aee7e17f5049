"""What a text encoder takes of a prompt, with a tokenizer of few words."""

from __future__ import annotations

from functools import partial

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from engine.sampling.prompts import read_prompt


@pytest.fixture
def read():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "ma", "mas", "mast</w>"]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    merges = [("m", "a"), ("ma", "s"), ("mas", "t</w>")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return partial(read_prompt, partial(tokenizer.encode, add_special_tokens=False))


def test_a_prompt_that_fits_is_used_as_it_was_written(read):
    found = read("  Mast, MAST ", 3, 500)
    assert (found.used, found.unknown, found.warnings("--prompt")) == ("  Mast, MAST ", (), ())


@pytest.mark.parametrize(
    ("prompt", "room", "used"),
    [
        ("mast mast mast", 2, "mast mast"),
        ("mast cell mast", 3, "mast"),
        ("mast cell mast", 5, "mast cell"),
        ("Körnung", 4, "Kör"),
        ("mast", 0, ""),
    ],
)
def test_a_long_prompt_ends_with_a_whole_word_and_reads_the_same_again(prompt, room, used, read):
    found = read(prompt, room, 500)
    assert found.used == used
    assert read(used, room, 500).used == used
    assert repr(used) in found.warnings("--prompt")[0]


def test_words_that_are_spelt_by_letters_are_listed_once_unless_the_vocabulary_is_full(read):
    found = read("mast Cell of cell Körnung", 77, 500)
    assert found.unknown == ("Cell", "of", "cell", "Körnung")
    assert "Cell, of, cell, Körnung" in found.warnings("--prompt")[0]
    assert read("mast Cell of cell Körnung", 77, 49408).unknown == ()
