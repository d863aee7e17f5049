"""The proof of an export: two runtimes run every graph with finite results that agree."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import CytosynthError
from exporter.proof import prove


def test_an_intact_class_passes(tiny_bundle):
    prove(tiny_bundle, "cyt_mast")


def test_a_graph_whose_results_are_not_finite_is_named(bundle_copy):
    path = bundle_copy / "unet.cyt_mast.bin"
    path.write_bytes(np.full(path.stat().st_size // 2, np.nan, np.float16).tobytes())
    with pytest.raises(CytosynthError, match=r"cyt_mast, unet\.cyt_mast\.onnx eps"):
        prove(bundle_copy, "cyt_mast")
