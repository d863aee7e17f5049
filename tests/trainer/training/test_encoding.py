"""Latents of a set of pictures."""

from __future__ import annotations

import torch

from trainer.pictures.dataset import turn
from trainer.training.devices import Compute
from trainer.training.encoding import encode_set, encode_symmetries


def test_latents_are_scaled_and_do_not_depend_on_the_batch(base):
    pictures = torch.randint(256, (18, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = encode_set(base.vae, pictures, Compute())
    assert found.shape == (18, 4, 8, 8)
    torch.testing.assert_close(found[16:], encode_set(base.vae, pictures[16:], Compute()), rtol=1e-4, atol=1e-5)
    base.vae.register_to_config(scaling_factor=2.0)
    torch.testing.assert_close(encode_set(base.vae, pictures[:2], Compute()), 2 * found[:2], rtol=1e-4, atol=1e-5)


def test_the_symmetries_come_first(base):
    pictures = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = encode_symmetries(base.vae, pictures, Compute())
    assert found.shape == (8, 2, 4, 8, 8)
    torch.testing.assert_close(found[5], encode_set(base.vae, turn(pictures, 5), Compute()))
