"""Noise by seed: Philox against its authors' vectors, CUDA's randn against published values, streams of their own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from engine.sampling.noise import DECODER, LATENTS, RNGS, WITH_CLASSES, NoiseSource, Stream, philox_4x32_10

# kat_vectors of Random123 (Salmon et al. 2011): counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32)[:, None]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_philox_gives_its_authors_answers(counter, key, result):
    assert_array_equal(philox_4x32_10(words(counter), words(key)), words(result))


def test_nv_is_what_cuda_draws():
    """torch.manual_seed(0); torch.randn(10, device="cuda"), as printed in many public threads to four digits."""
    published = [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631]
    assert_allclose(NoiseSource([0], (1, 2, 5), "nv").draw().ravel(), published, atol=5e-5)


@pytest.mark.parametrize("rng", RNGS)
def test_a_seeds_stream_is_its_own(rng):
    shape = (4, 8, 8)
    together = NoiseSource([5, 6, 2**40 + 5], shape, rng)
    alone = NoiseSource([6], shape, rng)
    first = together.draw()
    assert first.shape == (3, *shape)
    assert first.dtype == np.float32
    assert_array_equal(first[1], alone.draw()[0])
    second = together.draw()
    assert_array_equal(second[1], alone.draw()[0])
    drawn = {array.tobytes() for array in (*first, *second)}
    assert len(drawn) == 6


@pytest.mark.parametrize("rng", RNGS)
def test_the_noise_is_standard_normal(rng):
    drawn = NoiseSource([1], (4, 128, 128), rng).draw()
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert abs((drawn**3).mean()) < 0.05
    assert (drawn**4).mean() == pytest.approx(3, abs=0.1)


def test_the_shared_stream_is_pcg64_of_the_seed():
    wanted = np.random.Generator(np.random.PCG64(7)).standard_normal((2, 1, 2, 5)).astype(np.float32)
    source = NoiseSource([7], (1, 2, 5))
    assert_array_equal(np.concatenate([source.draw(), source.draw()]), wanted)


# The first numbers of seed 0. They must never change, on any machine: pictures are named by class and seed.
GOLDEN = {
    Stream(LATENTS, "neutrophil"): [1.7045044, 0.6608277, -0.39361915],
    Stream(DECODER, "neutrophil"): [0.38389951, -1.3498757, -0.18476732],
    Stream(DECODER): [0.80508947, -1.9120592, -3.4966493],
}


@pytest.mark.parametrize("stream", GOLDEN)
def test_the_streams_of_a_class_and_of_the_decoder_are_the_same_everywhere(stream):
    found = NoiseSource([0], (1, 1, 3), stream=stream).draw().ravel()
    assert_allclose(found, GOLDEN[stream], rtol=1e-6)


@pytest.mark.parametrize("rng", RNGS)
def test_streams_are_independent(rng):
    names = (None, "neutrophil", "neutrophil2") if rng in WITH_CLASSES else (None,)
    streams = [Stream(number, name) for number in (LATENTS, DECODER) for name in names]
    drawn = np.stack([NoiseSource([0, 1], (1, 64, 64), rng, stream=stream).draw().ravel() for stream in streams])
    correlations = np.corrcoef(drawn) - np.eye(len(streams))
    assert np.abs(correlations).max() < 0.06


def test_the_decoders_noise_of_nv_begins_at_a_call_that_no_sampler_reaches():
    """Call 0 of the decoder is CUDA's call 2^32, whose upper half is the second word of the counter."""
    counter = np.zeros((4, 3), np.uint32)
    counter[1], counter[2] = 1, np.arange(3)
    key = np.repeat(np.array([[5], [1]], np.uint32), 3, axis=1)
    first, second, *_ = philox_4x32_10(counter, key).astype(np.float64) / 2**32
    wanted = np.sqrt(-2 * np.log(first)) * np.sin(2 * np.pi * second)
    source = NoiseSource([2**32 + 5], (1, 1, 3), "nv", stream=Stream(DECODER))
    assert_allclose(source.draw().ravel(), wanted, rtol=1e-4)
    assert_array_equal(
        NoiseSource([3], (1, 1, 3), "nv", stream=Stream(LATENTS, "a")).draw(), NoiseSource([3], (1, 1, 3), "nv").draw()
    )
