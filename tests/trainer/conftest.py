"""A tiny base with random weights, which each test gets as a copy of its own."""

from __future__ import annotations

import copy

import pytest
import torch

from trainer.base.base import Base
from trainer.base.presets import PRESETS


@pytest.fixture(scope="module")
def untouched():
    torch.manual_seed(0)
    made = Base.new(PRESETS["tiny"], ["cyt mast", "neutrophil"], 32)
    made.unet.eval()
    made.vae.eval()
    return made


@pytest.fixture
def base(untouched):
    return copy.deepcopy(untouched)
