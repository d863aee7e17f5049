"""Factors of changed weights: of the rank of the change, as near as float16 is, and shared."""

from __future__ import annotations

import numpy as np
import pytest

from exporter import low_rank
from exporter.low_rank import factorise


def numbers(seed, *shape, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def changed(weight, rank, seed=1, scale=0.02):
    rows = len(weight)
    change = numbers(seed, rows, rank) @ numbers(seed + 1, rank, weight.size // rows)
    return (weight + scale * change.reshape(weight.shape)).astype(np.float16)


@pytest.mark.parametrize("shape", [(48, 64), (48, 16, 3, 3)])
def test_a_change_of_low_rank_is_found_with_the_error_of_float16(shape):
    weight = numbers(0, *shape, scale=0.1).astype(np.float16)
    wanted = changed(weight, 5)
    factors = factorise(wanted, weight)
    assert (factors.b.shape, factors.a.shape) == ((48, 5), (5, weight.size // 48))
    found = weight + factors.product.reshape(shape)
    assert np.abs(found - wanted.astype(np.float32)).max() < 3 * np.spacing(np.abs(wanted).max()).astype(np.float32)


def test_a_large_weight_has_the_factors_that_all_its_singular_values_give(monkeypatch):
    weight = numbers(0, 520, 530, scale=0.02).astype(np.float16)
    wanted = changed(weight, 16, scale=1e-3)
    quick = factorise(wanted, weight)
    monkeypatch.setattr(low_rank, "LARGE", 10_000)
    slow = factorise(wanted, weight)
    assert quick.b.shape == slow.b.shape == (520, 16)
    errors = [np.linalg.norm(weight + one.product - wanted.astype(np.float32)) for one in (quick, slow)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_the_search_in_a_large_weight_goes_on_to_higher_ranks_and_ends_at_full_rank():
    weight = numbers(0, 520, 530, scale=0.02).astype(np.float16)
    wanted = changed(weight, 100, scale=1e-3)
    factors = factorise(wanted, weight)
    assert factors.b.shape == (520, 100)
    error = weight + factors.product - wanted.astype(np.float32)
    assert np.sqrt(np.mean(error**2)) < np.spacing(np.float16(0.04)).astype(np.float32) / 2
    assert factorise((weight + numbers(1, 520, 530, scale=0.02)).astype(np.float16), weight) is None


def test_a_change_of_full_rank_has_no_factors_and_rounding_is_no_change():
    weight = numbers(0, 32, 32, scale=0.1).astype(np.float16)
    assert factorise((weight + numbers(1, 32, 32, scale=0.1)).astype(np.float16), weight) is None
    rounded = weight.copy()
    rounded[::4, ::2] = np.nextafter(weight, np.float16(1))[::4, ::2]
    assert factorise(rounded, weight).b.shape == (32, 0)


@pytest.mark.parametrize("transposed", [False, True])
def test_classes_share_the_factor_that_a_hypernetwork_leaves_as_it_is(transposed):
    """A hypernetwork that acts before the weight turns W + B A into (W + B A) M. Some graphs hold the transpose."""
    weight, b, a = numbers(0, 32, 32, scale=0.1), numbers(1, 32, 3, scale=0.1), numbers(2, 3, 32, scale=0.1)
    mixed = np.eye(32, dtype=np.float32) + numbers(3, 32, 32, scale=0.1)

    def stored(values):
        return np.ascontiguousarray(values.T if transposed else values).astype(np.float16)

    first = factorise(stored(weight + b @ a), stored(weight))
    assert factorise(stored(weight + b @ a), stored(weight), [first]) is first
    second = factorise(stored((weight + b @ a) @ mixed), stored(weight @ mixed), [first])
    shared, own = ("a", "b") if transposed else ("b", "a")
    assert np.array_equal(getattr(second, shared), getattr(first, shared))
    assert not np.array_equal(getattr(second, own), getattr(first, own))
