"""The embedded encoder `cyto`: a small convolutional classifier of real blood cells, run by OpenVINO in float32.

Its figures are FD-cyto and KD-cyto. They are no FID and no KID, which are defined on Inception's features.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError

__all__ = ["CYTO", "EncoderFile", "check_encoder", "extract_features"]

CYTO = Path(__file__).parent / "encoders" / "cyto.json"
"""The record of the encoder that ships here."""


@dataclass(frozen=True)
class EncoderFile:
    """An encoder whose file was checked: images (B, size, size, 3) uint8 -> features (B, D) float32."""

    path: Path
    size: int
    sha256: str
    record: dict[str, Any]


def check_encoder(record_path: Path = CYTO) -> EncoderFile:
    """Read an encoder's record and check its file's SHA-256. Raises RequestError where they differ."""
    record = json.loads(record_path.read_text(encoding="utf-8"))
    path = record_path.with_suffix(".onnx")
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if found != record["sha256"]:
        raise RequestError(
            f"The encoder {path}",
            found=found,
            expected=f"SHA-256 {record['sha256']}",
            mend="restore both files from the checkout, or train the encoder again",
        )
    return EncoderFile(path, int(record["size"]), found, record)


def extract_features(encoder: EncoderFile, pictures: NDArray[np.uint8], batch_size: int = 32) -> NDArray[np.float64]:
    """(N, size, size, 3) uint8 -> (N, D) float64."""
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(core.read_model(encoder.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    starts = range(0, len(pictures), batch_size)
    chunks = [compiled({"images": pictures[start : start + batch_size]})["features"].copy() for start in starts]
    return np.concatenate(chunks).astype(np.float64)
