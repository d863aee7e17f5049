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


def test_large_pictures_are_encoded_one_by_one(base, monkeypatch):
    """Sixteen pictures of 512 x 512 pixels take more memory than Stable Diffusion's weights."""
    seen, encode = [], base.vae.encode
    monkeypatch.setattr(base.vae, "encode", lambda x: seen.append(len(x)) or encode(x))
    pictures = torch.zeros((3, 3, 512, 512), dtype=torch.uint8)
    assert encode_set(base.vae, pictures, Compute()).shape == (3, 4, 128, 128)
    encode_set(base.vae, pictures[:, :, :128, :128], Compute())
    assert seen == [1, 1, 1, 3]


def test_the_symmetries_come_first(base):
    pictures = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = encode_symmetries(base.vae, pictures, Compute())
    assert found.shape == (8, 2, 4, 8, 8)
    torch.testing.assert_close(found[5], encode_set(base.vae, turn(pictures, 5), Compute()))
