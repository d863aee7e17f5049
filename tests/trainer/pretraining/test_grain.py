"""The training of the refiner: it learns to draw the grain of the pictures, and the VAE stays."""

from __future__ import annotations

import pytest
import torch

from trainer.base.base import digest_of
from trainer.base.refiner import Refiner, RefinerSettings, decode_latents
from trainer.pictures.dataset import PictureSet
from trainer.pretraining.grain import GrainData, train_refiner
from trainer.pretraining.photograph_features import open_photograph_features
from trainer.training.devices import Compute
from trainer.training.settings import decaying_loop

pytestmark = pytest.mark.slow

GRAIN = 0.2


@pytest.fixture(scope="module")
def trained(untouched, tmp_path_factory):
    """A refiner trained on grey pictures with grain, the VAE that it stands behind, its record, and latents."""
    vae = untouched.vae
    generator = torch.Generator().manual_seed(0)
    before = digest_of(vae)
    latents = torch.zeros(8, 4, 8, 8)
    with torch.no_grad():
        plain = vae.decode(latents / vae.config.scaling_factor).sample
    grainy = (plain + GRAIN * torch.randn(plain.shape, generator=generator) + 1) * 127.5
    data = PictureSet(grainy.round().clamp(0, 255).byte(), torch.arange(8) % 2, ["one", "two"], [])
    torch.manual_seed(0)
    refiner = Refiner.new(RefinerSettings(4, 4, width=16, convolutions=3, context_width=8))
    record = train_refiner(
        vae,
        refiner,
        GrainData(data, latents, latents, data.labels),
        open_photograph_features(),
        decaying_loop(30, 4, 6e-3, warmup=2),
        tmp_path_factory.mktemp("refiner"),
        Compute(),
        lambda *values: None,
    )
    assert digest_of(vae) == before
    return vae, refiner, record, latents


def test_the_refiner_learns_to_draw_grain(trained):
    vae, refiner, record, latents = trained
    assert record["steps_done"] == 30
    assert record["loss_last"] < 0.8 * record["loss_first"]
    one, other = (decode_latents(vae, refiner, latents, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    grain = float((one - other).std() / 2**0.5)
    assert 0.4 * GRAIN < grain < 1.6 * GRAIN
