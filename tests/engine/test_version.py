"""The version is written once."""

from __future__ import annotations

import importlib.metadata

import engine


def test_the_installed_package_has_the_version_of_the_engine():
    assert importlib.metadata.version("cytosynth") == engine.__version__
