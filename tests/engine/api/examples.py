"""The data set that the tests of the library read."""

from __future__ import annotations

from engine import SyntheticCells


def data_of(bundle, **options):
    return SyntheticCells(n=7, seed=5, bundle=str(bundle), num_inference_steps=3, **options)
