"""The arithmetic of AUTOMATIC1111's checkpoint merger, for one tensor.

Everything is computed in the tensors' own type, in the WebUI's order of operations, so that the results are the same
bits. Reference: the WebUI 1.10.1, tab Checkpoint Merger.
"""

from __future__ import annotations

import torch

from trainer.checkpoints.settings import WEIGHTED_SUM

__all__ = ["WIDER", "combined", "fitted_shape", "halved_dtype"]

CHANNELS = 4
"""Input channels that a checkpoint for inpainting (9) or instruct-pix2pix (8) shares with others."""
WIDER = {9: "inpainting", 8: "instruct-pix2pix"}
"""Kinds of checkpoints with further input channels."""


def combined(method: str, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None, multiplier: float) -> torch.Tensor:
    """Return the merged tensor.

    Args:
        method: weighted-sum is a (1 - m) + b m; add-difference is a + m (b - c).
        a: The tensor of the first checkpoint. If it has 8 or 9 input channels and b has 4, its first 4 channels are
            merged and the rest stays.
        b: The tensor of the second checkpoint. A linear layer that a holds as a 1 x 1 convolution gets its shape.
        c: The tensor of the third checkpoint, of the shape of b up to such ones. None means no difference.
        multiplier: m, 0 to 1.
    """
    if a.shape != b.shape and a.numel() != b.numel():
        merged = a.clone()
        merged[:, :CHANNELS] = combined(method, a[:, :CHANNELS], b, c, multiplier)
        return merged
    b = b.reshape(a.shape)
    if method == WEIGHTED_SUM:
        return (1 - multiplier) * a + multiplier * b
    difference = torch.zeros_like(b) if c is None else b - c.reshape(a.shape)
    return a + multiplier * difference


def fitted_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the part of a tensor of shape `a` that can be merged with one of shape `b`, or None if there is none.

    The parts are: all of it, also if the shapes differ in ones at their ends; or the first 4 of 8 or 9 input channels.
    """
    if a == b or _without_ones(a) == _without_ones(b):
        return a
    if len(a) == 4 and a[:1] + a[2:] == b[:1] + b[2:] and a[1] in WIDER and b[1] == CHANNELS:
        return b
    return None


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the ones at its end: diffusers holds 1 x 1 convolutions as linear layers."""
    end = len(shape)
    while end > 1 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]


def halved_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which a merged tensor is saved as FP16. The WebUI changes float32 alone."""
    return torch.float16 if dtype == torch.float32 else dtype
