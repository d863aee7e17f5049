"""The decoder's training: LPIPS as its authors compute it, and a decoder that sharpens while the latents stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from engine.errors import RequestError
from trainer import perceptual
from trainer.bases import PRESETS, Base, digest_of
from trainer.dataset import PictureSet
from trainer.decoder import train_decoder
from trainer.devices import Compute
from trainer.loop import LoopSettings
from trainer.perceptual import open_perceptual_distance
from trainer.schedule import Cosine

GOLDEN = Path(__file__).parents[1] / "golden/lpips.json"


def test_the_distance_equals_its_authors(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    wanted = torch.rand(3, 3, 64, 64, generator=generator) * 2 - 1
    found = (wanted + 0.3 * torch.randn(wanted.shape, generator=generator)).clamp(-1, 1)
    golden = torch.tensor(json.loads(GOLDEN.read_text())["distances"])
    distance = open_perceptual_distance()
    torch.testing.assert_close(distance(found, wanted), golden, rtol=1e-4, atol=0)
    assert float(distance(wanted, wanted).abs().max()) == 0


@pytest.mark.parametrize(
    ("name", "value", "words"), [("PACKAGE", "no_such_package", "stlpips-pytorch"), ("SHA256", "0" * 64, "SHA-256")]
)
def test_missing_and_other_weights_are_refused(monkeypatch, name, value, words):
    monkeypatch.setattr(perceptual, name, value)
    with pytest.raises(RequestError, match=words):
        open_perceptual_distance()


def test_the_decoder_learns_and_the_encoder_stays(tmp_path):
    torch.manual_seed(0)
    vae = Base.new(PRESETS["tiny"], ["cell"], 32).vae
    pictures = torch.randint(60, 200, (8, 3, 4, 4), dtype=torch.uint8).repeat_interleave(8, -1).repeat_interleave(8, -2)
    latents = torch.randn(1, 8, 4, 8, 8)
    before, encoder = digest_of(vae.decoder), digest_of(vae.encoder)
    record = train_decoder(
        vae,
        PictureSet(pictures, torch.arange(8) % 2, ["one", "two"], []),
        latents,
        torch.randn(8, 4, 8, 8),
        "a UNet",
        open_perceptual_distance(),
        LoopSettings(30, 4, Cosine(2e-3, 2), ema_decay=0.9),
        tmp_path,
        Compute(),
        lambda *values: None,
    )
    assert record["steps_done"] == 30
    assert record["loss_last"] < record["loss_first"]
    assert digest_of(vae.decoder) != before
    assert digest_of(vae.encoder) == encoder
