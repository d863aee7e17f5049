"""The arithmetic of one tensor, and which shapes fit each other."""

from __future__ import annotations

import pytest
import torch

from trainer.checkpoints.arithmetic import combined, fitted_shape, halved_dtype


def test_the_methods_at_their_ends():
    a, b, c = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0])
    assert torch.equal(combined("weighted-sum", a, b, None, 0.0), a)
    assert torch.equal(combined("weighted-sum", a, b, None, 1.0), b)
    assert torch.equal(combined("weighted-sum", a, b, None, 0.5), torch.tensor([2.0, 3.5]))
    assert torch.equal(combined("add-difference", a, b, c, 0.5), torch.tensor([2.0, 4.0]))
    assert torch.equal(combined("add-difference", a, b, None, 0.5), a)


def test_more_input_channels_stay_and_the_input_is_not_changed():
    a, b = torch.ones(2, 9, 3, 3), torch.zeros(2, 4, 3, 3)
    found = combined("add-difference", a, b, b - 1, 0.5)
    assert torch.equal(found[:, :4], torch.full((2, 4, 3, 3), 1.5))
    assert torch.equal(found[:, 4:], a[:, 4:])
    assert torch.equal(a, torch.ones(2, 9, 3, 3))


@pytest.mark.parametrize(
    ("a", "b", "fits"),
    [
        ((3, 4), (3, 4), (3, 4)),
        ((3, 4, 1, 1), (3, 4), (3, 4, 1, 1)),
        ((3, 4), (3, 4, 1, 1), (3, 4)),
        ((8, 9, 3, 3), (8, 4, 3, 3), (8, 4, 3, 3)),
        ((8, 8, 3, 3), (8, 4, 3, 3), (8, 4, 3, 3)),
        ((8, 4, 3, 3), (8, 9, 3, 3), None),
        ((8, 7, 3, 3), (8, 4, 3, 3), None),
        ((9, 9), (9, 4), None),
        ((4,), (1,), None),
        ((), (1,), None),
        ((6, 2), (3, 4), None),
    ],
)
def test_which_shapes_fit(a, b, fits):
    assert fitted_shape(a, b) == fits


def test_only_float32_becomes_float16():
    assert halved_dtype(torch.float32) == torch.float16
    assert halved_dtype(torch.bfloat16) == torch.bfloat16
    assert halved_dtype(torch.int64) == torch.int64
