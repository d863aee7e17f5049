"""Read and replace the manifest of an existing bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.bundle.manifest import read_manifest
from engine.files import replace_file

__all__ = ["INT8", "load_manifest", "replace_manifest"]

INT8 = ".int8.onnx"
"""Ending of the names of 8-bit graphs."""


def load_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle as plain values."""
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def replace_manifest(folder: Path, manifest: dict[str, Any], new_files: Mapping[str, Path] | None = None) -> None:
    """Replace the manifest of a bundle.

    new_files: maps names in the bundle to files that move there just before the manifest is replaced. Raises
    RequestError and leaves the bundle unchanged if the engine cannot read the manifest.
    """
    with replace_file(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        read_manifest(part)
        for name, path in (new_files or {}).items():
            path.replace(folder / name)
