"""Classifiers that learn photographs: what their features see, and which photographs they are compared with."""

from __future__ import annotations

import pytest
import torch

from engine.progress import silent
from trainer.distillation import class_features
from trainer.distillation.class_features import LEAST, ClassFeatures, Teaching
from trainer.pictures.dataset import PictureSet, to_model_range
from trainer.training.devices import Compute

SIDE, FEW = 32, 16


def cells(shade, contrast, count, seed):
    """Discs of a shade with granules of a contrast, (count, 3, SIDE, SIDE) uint8."""
    generator = torch.Generator().manual_seed(seed)
    row, column = torch.meshgrid(*[torch.arange(SIDE) - SIDE / 2] * 2, indexing="ij")
    inside = (row.square() + column.square() < (SIDE / 3) ** 2).float()
    coarse = torch.randn(count, 1, SIDE // 2, SIDE // 2, generator=generator)
    granules = contrast * torch.nn.functional.interpolate(coarse, scale_factor=2)
    noise = 4 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return (220 + noise + inside * (shade - 220 + granules)).clamp(0, 255).byte()


def photographs():
    """Two classes that differ in their granules, and one with few photographs."""
    parts = [cells(120, 30, LEAST, 1), cells(120, 10, LEAST, 2), cells(90, 20, FEW, 3)]
    labels = torch.cat([torch.full((len(part),), place) for place, part in enumerate(parts)])
    return PictureSet(torch.cat(parts), labels, ["coarse", "fine", "rare"], [])


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_features, "STEPS", 60)
        folder = tmp_path_factory.mktemp("classifiers")
        return ClassFeatures(photographs(), Teaching(folder, 0, Compute(), None, silent))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shade", "contrast"), [("coarse", 120, 30), ("rare", 90, 20)])
def test_weaker_granules_are_farther_away(features, name, shade, contrast):
    """The same discs with half of the contrast: their mean colour is the same."""
    right, weak = (features.compare(name, to_model_range(cells(shade, c, 64, 9))) for c in (contrast, contrast / 2))
    assert weak[0] > 10 * right[0].abs(), "a distance without bias may be negative"
    assert weak[1].mean(0).square().sum() > 10 * right[1].mean(0).square().sum()


@pytest.mark.slow
def test_each_classifier_learns_its_half_of_the_photographs(tmp_path, monkeypatch):
    """The last photograph of the first class is in the second half. Its first one only judges. Those of the rare class
    are in no half."""
    monkeypatch.setattr(class_features, "STEPS", 1)
    original, changed, rare = photographs(), photographs(), photographs()
    changed.pictures[LEAST - 1] = 255
    rare.pictures[-FEW:] = rare.pictures[0] = 255
    states = []
    for place, data in enumerate((original, changed, rare)):
        folder = tmp_path / str(place)
        ClassFeatures(data, Teaching(folder, 0, Compute(), None, silent))
        states.append([torch.load(folder / f"classifier{fold}.pt", weights_only=True)["subject"] for fold in (0, 1)])
    assert states[1][0] == states[0][0]
    assert states[1][1] != states[0][1]
    assert states[2] == states[0]
