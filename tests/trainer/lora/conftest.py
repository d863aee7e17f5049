"""A small base of Stable Diffusion's structure, which each test gets as a copy of its own."""

from __future__ import annotations

import copy

import pytest

from tests.trainer.lora.examples import small_base


@pytest.fixture(scope="module")
def untouched():
    return small_base()


@pytest.fixture
def base(untouched):
    return copy.deepcopy(untouched)
