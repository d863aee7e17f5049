"""A tiny base for the tests of this folder."""

from __future__ import annotations

import copy

import pytest
import torch

from trainer.base.base import PRESETS, Base


@pytest.fixture(scope="module")
def untouched():
    torch.manual_seed(0)
    made = Base.new(PRESETS["tiny"], ["cyt mast", "neutrophil"], 32)
    made.unet.eval()
    return made


@pytest.fixture
def base(untouched):
    return copy.deepcopy(untouched)
