"""GPUs are known by name and by compute capability."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from exporter.plans.gpus import compute_capability


def test_names_of_gpus():
    for name in ("a6000", "RTX A6000", "NVIDIA RTX A6000", "sm86", "SM_86", "GeForce RTX 3090"):
        assert compute_capability(name) == "8.6"
    assert compute_capability("sm120") == "12.0"
    for name in ("", "sm", "a6001", "86"):
        with pytest.raises(RequestError, match="--gpu"):
            compute_capability(name)
