"""The autoencoder of a small base: exact normalisation of its latents."""

from __future__ import annotations

import torch

from trainer.pretraining.autoencoder import normalise_latents
from trainer.training.devices import Compute
from trainer.training.encoding import encode_set


def test_normalised_latents_decode_to_the_same_pictures(base):
    generator = torch.Generator().manual_seed(3)
    pictures = torch.randint(256, (16, 3, 32, 32), generator=generator, dtype=torch.uint8)
    latents = encode_set(base.vae, pictures, Compute())
    with torch.no_grad():
        before = base.vae.decode(latents).sample
        normalised = normalise_latents(base.vae, latents)
        after = base.vae.decode(normalised).sample
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encode_set(base.vae, pictures, Compute()), normalised, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised.std((0, 2, 3)), torch.ones(4), rtol=1e-4, atol=0)
