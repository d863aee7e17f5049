"""Hypernetworks: initialisation, and dropout in training only."""

from __future__ import annotations

import pytest
import torch

from tests.trainer.hypernetwork.examples import settings_of, strong
from trainer.hypernetwork.network import Hypernetwork
from trainer.hypernetwork.structure import HypernetworkSettings


def test_dropout_acts_only_in_training(base):
    settings = settings_of(dropout_structure=(0, 0.5, 0))
    stack = strong(settings).stack(16, "k")
    x = torch.ones(3, 16)
    torch.testing.assert_close(stack(x), stack(x))
    stack.train()
    assert (stack(x) - stack(x)).abs().max() > 1e-4


def test_initialisations_have_the_deviation_of_their_name():
    torch.manual_seed(0)
    wide = 512
    expected = {
        "normal": 0.01,
        "xavieruniform": (2 / (wide + 2 * wide)) ** 0.5,
        "xaviernormal": (2 / (wide + 2 * wide)) ** 0.5,
        "kaiminguniform": (2 / wide) ** 0.5,
        "kaimingnormal": (2 / wide) ** 0.5,
    }
    for kind, deviation in expected.items():
        layer = Hypernetwork([wide], HypernetworkSettings(weight_init=kind, layer_norm=True)).stack(wide, "k").linear
        assert layer[0].weight.std().item() == pytest.approx(deviation, rel=0.03)
        assert layer[1].weight.std().item() == pytest.approx(0.01, rel=0.2)
        assert not layer[0].bias.any()
