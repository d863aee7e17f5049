"""Offsets that single batches hide: their sign, their classes, and their way through a checkpoint."""

from __future__ import annotations

import torch

from trainer.distillation.offsets import WINDOW, Offsets

SIZES = (3, 5)


def batches(offset, count, seed=0):
    """Batches of 4 pictures whose offsets have a mean and a deviation of 1."""
    generator = torch.Generator().manual_seed(seed)
    return [offset + torch.randn(4, sum(SIZES), generator=generator) for _ in range(count)]


def test_the_gradient_removes_an_offset_that_a_batch_does_not_show():
    """Gradient descent on a common offset of 0.5, seen in batches whose means deviate by 0.5, ends near zero."""
    offsets, common = Offsets(["a"], SIZES), torch.full((sum(SIZES),), 0.5, requires_grad=True)
    for noise in batches(0, 600):
        (gradient,) = torch.autograd.grad(offsets("a", common + noise), common)
        common = (common - 0.1 * gradient).detach().requires_grad_(True)
    assert common.abs().max() < 0.15


def test_a_class_counts_by_its_own_and_by_all():
    """Two classes with opposite offsets have none in common, and each still sees its own."""
    offsets = Offsets(["a", "b"], SIZES)
    for one, other in zip(batches(1.0, 60), batches(-1.0, 60, seed=1), strict=True):
        offsets("a", one)
        offsets("b", other)
    torch.testing.assert_close(offsets.means[1:].mean(1), torch.tensor([1.0, -1.0]), rtol=0, atol=0.15)
    assert offsets.means[0].mean().abs() < 0.2
    assert offsets.seen.tolist() == [WINDOW] * 3


def test_a_checkpoint_continues_the_means():
    first, second = Offsets(["a"], SIZES), Offsets(["a"], SIZES)
    for batch in batches(1.0, 3):
        first("a", batch)
    second.load_state_dict(first.state_dict())
    (batch,) = batches(1.0, 1, seed=1)
    torch.testing.assert_close(second("a", batch), first("a", batch), rtol=0, atol=0)
