"""LPIPS as its authors compute it."""

from __future__ import annotations

import json

import pytest
import torch

from engine.errors import RequestError
from tests.conftest import ROOT
from trainer.pretraining import perceptual
from trainer.pretraining.perceptual import open_perceptual_distance

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
