"""The decoder's training: LPIPS as its authors compute it, and a decoder that sharpens while the latents stay."""

from __future__ import annotations

import json

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch.nn import functional

from engine.errors import RequestError
from tests.conftest import ROOT
from trainer.base.base import PRESETS, Base, digest_of
from trainer.pictures.dataset import PictureSet
from trainer.pretraining import perceptual
from trainer.pretraining.critics import Critics
from trainer.pretraining.decoder import train_decoder
from trainer.pretraining.perceptual import CHANNELS, open_perceptual_distance
from trainer.pretraining.texture import texture_distance
from trainer.training.devices import Compute
from trainer.training.loop import LoopSettings
from trainer.training.schedule import Cosine

GOLDEN = ROOT / "tests/golden/lpips.json"


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


def test_the_distance_of_textures_is_wassersteins_and_asks_not_where():
    generator = torch.Generator().manual_seed(0)
    found, wanted = (torch.randn(1, 1, 6, 7, generator=generator) * scale for scale in (1, 3))
    # In one dimension every direction is +1 or -1.
    expected = wasserstein_distance(found.flatten().numpy(), wanted.flatten().numpy())
    assert float(texture_distance([found], [wanted], generator)) == pytest.approx(expected, rel=1e-5)
    many = torch.randn(2, 5, 8, 8, generator=generator)
    moved = many.flatten(2)[..., torch.randperm(64, generator=generator)].unflatten(2, (8, 8))
    assert float(texture_distance([many], [moved], generator)) == pytest.approx(0, abs=1e-6)


def test_critics_learn_to_tell_pictures_from_what_lacks_their_grain():
    """In the steps that they have alone; each of them."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    distance, critics = open_perceptual_distance(), Critics(CHANNELS[:3])

    def pair() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        coarse = torch.rand(6, 3, 4, 4, generator=generator)
        real = (
            functional.interpolate(coarse, size=32) - 0.5 + 0.2 * torch.randn(6, 3, 32, 32, generator=generator)
        ) / 2
        fake = functional.avg_pool2d(real, 3, 1, 1)
        return tuple(critics.inputs(x, distance.features(x)) for x in (real, fake))

    critics.standardise(distance.features(torch.rand(6, 3, 32, 32, generator=generator) - 0.5))
    optimizer = torch.optim.Adam(critics.parameters(), 1e-3)
    for step in range(40):
        real, fake = pair()
        loss = functional.softplus(critics(fake) - critics(real)).mean()
        if step % 4 == 0:
            loss = loss + 0.04 * (critics.steepness(real) + critics.steepness(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = pair()
        assert ((critics(real) > critics(fake)).float().mean(1) > 0.8).all()


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
