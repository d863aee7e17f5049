"""Chunks of tokens, and weights on embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from engine.sampling.prompt_chunks import Vocabulary, chunks_of, mean_factor, weighted

COMMA = 9
WORDS = Vocabulary(lambda text: [*map(int, text.split())], start=100, end=101, padding=102, comma=COMMA, length=6)


def tokens(*passages):
    return [chunk.tokens for chunk in chunks_of([tuple(passage) for passage in passages], WORDS)]


def test_a_chunk_has_a_start_an_end_and_padding_of_weight_one():
    (chunk,) = chunks_of([(("1 2", 1.0), ("3", 2.0))], WORDS)
    assert chunk.tokens == (100, 1, 2, 3, 101, 102)
    assert chunk.weights == (1, 1, 1, 2, 1, 1)
    assert tokens([]) == [(100, 101, 102, 102, 102, 102)]


def test_a_long_passage_continues_in_the_next_chunk():
    assert tokens([("1 2 3 4", 1.0)]) == [(100, 1, 2, 3, 4, 101)]
    assert tokens([("1 2 3 4 5", 1.0)]) == [(100, 1, 2, 3, 4, 101), (100, 5, 101, 102, 102, 102)]
    assert tokens([("1", 1.0)], [("2", 1.0)]) == [(100, 1, 101, *[102] * 3), (100, 2, 101, *[102] * 3)]


def test_what_follows_a_near_comma_moves_along():
    assert tokens([("1 9 3 4 5", 1.0)]) == [(100, 1, 9, 101, 102, 102), (100, 3, 4, 5, 101, 102)]
    assert tokens([("1 2 3 9 5", 1.0)]) == [(100, 1, 2, 3, 9, 101), (100, 5, 101, 102, 102, 102)]


def test_a_far_comma_moves_nothing():
    long = Vocabulary(WORDS.encode, 100, 101, 102, COMMA, 27)
    text = " ".join(["9", *["1"] * 30])
    first, _ = chunks_of([((text, 1.0),)], long)
    assert first.tokens.count(1) == 24


@pytest.mark.parametrize("keep_mean", [True, False])
def test_weights_multiply_tokens_and_the_mean_is_kept_where_it_says_something(keep_mean):
    states = np.random.default_rng(0).normal(0.3, 1, (6, 400)).astype(np.float32)
    found = weighted(states, [1, 2, 1, 0.5, 1, 1], keep_mean=keep_mean)
    plain = states * np.array([1, 2, 1, 0.5, 1, 1], np.float32)[:, None]
    np.testing.assert_allclose(found, plain * (states.mean() / plain.mean() if keep_mean else 1), rtol=1e-4)
    centred = states - states.mean()
    np.testing.assert_array_equal(weighted(centred, [2] * 6, keep_mean=keep_mean), centred * 2)
    assert weighted(states, [1] * 6, keep_mean=True) is states


def test_a_mean_that_cancels_is_not_kept():
    assert mean_factor((0.3, 1.0), (0.15, 1.0)) == 2
    assert mean_factor((0.3, 1.0), (0.0, 0.0)) == 1
    assert mean_factor((0.3, 1.0), (-0.001, 1.0)) == 1
