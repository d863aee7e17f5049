"""The training of the decoder: it learns, and the latents stay."""

from __future__ import annotations

import pytest
import torch

from trainer.base.base import Base, digest_of
from trainer.base.presets import PRESETS
from trainer.pictures.dataset import PictureSet
from trainer.pretraining.decoder import DecoderData, train_decoder
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.training.devices import Compute
from trainer.training.settings import decaying_loop


@pytest.mark.slow
def test_the_decoder_learns_and_the_encoder_stays(tmp_path):
    torch.manual_seed(0)
    vae = Base.new(PRESETS["tiny"], ["cell"], 32).vae
    pictures = torch.randint(60, 200, (8, 3, 4, 4), dtype=torch.uint8).repeat_interleave(8, -1).repeat_interleave(8, -2)
    latents = torch.randn(1, 8, 4, 8, 8)
    before, encoder = digest_of(vae.decoder), digest_of(vae.encoder)
    data = PictureSet(pictures, torch.arange(8) % 2, ["one", "two"], [])
    record = train_decoder(
        vae,
        DecoderData(data, latents, torch.randn(8, 4, 8, 8), "a UNet"),
        open_perceptual_distance(),
        decaying_loop(30, 4, 2e-3, warmup=2, ema_decay=0.9),
        tmp_path,
        Compute(),
        lambda *values: None,
    )
    assert record["steps_done"] == 30
    assert record["loss_last"] < record["loss_first"]
    assert digest_of(vae.decoder) != before
    assert digest_of(vae.encoder) == encoder
