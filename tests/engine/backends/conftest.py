"""Fixtures of the tests of the backends."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def kept_graphs():
    """Replace the fixture of tests/conftest.py: these tests open every graph afresh."""
