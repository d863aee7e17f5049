"""The modules of a training: they begin at the base, and their file is merged into the same UNet."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.trainer.lora.examples import small_base
from trainer.lora.files import LoraFile
from trainer.lora.network import Lora


@pytest.fixture(scope="module")
def untouched():
    return small_base()


@pytest.fixture
def base(untouched):
    return copy.deepcopy(untouched)


def evaluate(base):
    base.unet.double()
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
    context = torch.randn(2, 8, 16, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        return base.unet(latents, torch.tensor([10, 700]), context).sample


def test_only_the_chosen_projections_get_matrices(base):
    lora = Lora(base.unet, 2, projections=("k", "out"))
    assert len(lora.layers) == 64
    assert {place.name.split("_to_")[1] for place in lora.changes()} == {"k", "out_0"}


@pytest.mark.parametrize(("convolutions", "modules"), [(False, 128), (True, 128 + 44 + 14 + 3 + 3 + 31)])
def test_a_lora_begins_at_the_base_and_its_file_is_merged_into_the_same_unet(convolutions, modules, base):
    lora = Lora(base.unet, 3, 6, convolutions=convolutions)
    assert len(lora.layers) == modules
    plain = evaluate(base)
    with lora.double().attached(base.unet):
        torch.testing.assert_close(evaluate(base), plain, rtol=0, atol=0)
        for part in lora.layers.values():
            torch.nn.init.normal_(part.lora_up.weight, std=0.1)
        trained = evaluate(base)
    assert (trained - plain).abs().max() > 1e-3
    torch.testing.assert_close(evaluate(base), plain, rtol=0, atol=0)
    file = LoraFile(lora.changes(), "one")
    assert {change.scale for change in file.changes.values()} == {2.0}
    assert file.fold(base) == f"one: LoRA; {modules} of the UNet changed"
    torch.testing.assert_close(evaluate(base), trained, rtol=1e-9, atol=1e-9)
