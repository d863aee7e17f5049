"""What the tests of `fit` and `embed` share."""

from __future__ import annotations

from safetensors.torch import load_file

SHORT = ["--steps", 12, "--batch-size", 2, "--learning-rate", "1e-3:6,1e-4"]


def weights(path):
    return load_file(path)
