"""Pictures and JSON on disk, each file whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.provenance import png_text

__all__ = ["write_json", "write_png", "write_text"]


def write_png(path: Path, picture: NDArray[np.uint8], description: dict[str, Any]) -> None:
    """Write (H, W, 3) uint8 RGB with its description."""
    part = path.with_suffix(".part")
    # Level 1 is several times faster than the default for a few per cent of size.
    Image.fromarray(picture).save(part, format="PNG", pnginfo=png_text(description), compress_level=1)
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
