"""Encoders of pictures, the embedded encoder `cyto`, and the features of a folder.

`cyto` is a small convolutional classifier of real blood cells, run by OpenVINO in float32. Its figures are named
FD-cyto, KD-cyto and IS-cyto. They are not FID, KID and IS, which are defined on Inception's features. The encoder
`imagenet` (FD-imagenet, KD-imagenet) is in `evaluate.encoders.imagenet`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.files import sha256_of
from engine.progress import Progress, silent
from evaluate.images import PictureFolder, Pictures, blur
from evaluate.metrics.registry import METRICS

__all__ = [
    "CHOICES",
    "CYTO",
    "Cyto",
    "Encoder",
    "Layers",
    "blurred_features",
    "features_of",
    "open_encoders",
]

CYTO = Path(__file__).parent / "cyto.json"
"""The record of the embedded encoder."""

CHOICES = ("auto", "cyto", "imagenet", "inception")
"""The allowed values of --features."""

Layers = dict[str, NDArray[np.float32]]
"""Features by the name of their layer, (N, D) each."""


class Encoder(Protocol):
    """Turns pictures, (B, size, size, 3) uint8 RGB, into Layers. If size is None, pictures can have any size."""

    name: str
    sha256: str
    size: int | None

    def __call__(self, pictures: Pictures) -> Layers: ...


class Cyto:
    """The embedded encoder, with the layers `features` (B, 128) and `logits` (B, classes).

    Raises RequestError if the SHA-256 of the file differs from the record.
    """

    name = "cyto"

    def __init__(self, record_path: Path = CYTO) -> None:
        self.record: dict[str, Any] = json.loads(record_path.read_text(encoding="utf-8"))
        self.path = record_path.with_suffix(".onnx")
        self.size: int | None = int(self.record["size"])
        self.sha256 = sha256_of(self.path) if self.path.is_file() else "no such file"
        if self.sha256 != self.record["sha256"]:
            raise RequestError(
                f"The encoder {self.path}",
                found=self.sha256,
                expected=f"SHA-256 {self.record['sha256']}",
                fix="restore both files from the repository, or train the encoder again",
            )
        self._compiled: Any = None

    def __call__(self, pictures: Pictures) -> Layers:
        if self._compiled is None:
            import openvino as ov

            core = ov.Core()
            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            self._compiled = core.compile_model(core.read_model(self.path), "CPU", settings)
        found = self._compiled({"images": pictures})
        return {layer: found[layer].copy() for layer in ("features", "logits")}


def features_of(encoder: Encoder, folder: PictureFolder, progress: Progress = silent) -> Layers:
    """Return the layers that figures need, in the order of the files. Only one batch of pictures is in memory."""
    return _collect(encoder, folder, folder.batches(encoder.size), progress)


def blurred_features(encoder: Encoder, folder: PictureFolder, progress: Progress = silent) -> Layers:
    """Return the same layers of the pictures under a Gaussian blur of 1/64 of the side."""
    return _collect(encoder, folder, map(blur, folder.batches(encoder.size)), progress)


def _collect(encoder: Encoder, folder: PictureFolder, batches: Iterable[Pictures], progress: Progress) -> Layers:
    layers = {metric.layer for metric in METRICS[encoder.name]}
    parts, done = [], 0
    for batch in batches:
        parts.append({layer: values for layer, values in encoder(batch).items() if layer in layers})
        done += len(batch)
        progress(f"{encoder.name} features of {folder.path}", done, len(folder))
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in parts[0]}


def open_encoders(wanted: str) -> tuple[list[Encoder], list[str]]:
    """Return the encoders that --features names, and warnings about the choice.

    `auto` is cyto, imagenet if its packages are installed, and Inception if its weights are found. Raises RequestError
    if the weights of a wanted encoder are missing or have another hash.
    """
    from evaluate.encoders import imagenet
    from evaluate.encoders.inception_weights import find_weights

    if wanted not in CHOICES:
        raise RequestError("--features", found=wanted, expected=", ".join(CHOICES), fix="choose one of these")
    weights = find_weights() if wanted in ("auto", "inception") else None
    encoders: list[Encoder] = []
    warnings = []
    if wanted == "inception" or weights is not None:
        # The import loads OpenVINO.
        from evaluate.encoders.inception import Inception

        encoders.append(Inception(weights))
    elif wanted == "auto":
        warnings.append(
            "FID, IS and KID were not measured, because Inception's weights are not on this computer. The figures of "
            "other encoders do not replace them. `python -m evaluate weights` downloads the weights."
        )
    if wanted in ("auto", "cyto"):
        encoders.append(Cyto())
    if wanted == "imagenet" or (wanted == "auto" and imagenet.is_installed()):
        encoders.append(imagenet.Imagenet())
    elif wanted == "auto":
        warnings.append(
            "FD-imagenet was not measured, because its packages are not installed. cyto is blind to most faults of "
            f"texture. Install them: {imagenet.INSTALL}."
        )
    return encoders, warnings
