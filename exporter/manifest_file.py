"""Changing the manifest of a bundle that exists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.bundle.manifest import read_manifest
from engine.files import replace_file

__all__ = ["load_manifest", "replace_manifest"]


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle as plain values."""
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def replace_manifest(folder: Path, manifest: dict[str, Any], new_files: Mapping[str, Path] | None = None) -> None:
    """Put a manifest in the place of a bundle's. new_files: by name, what moves into the bundle just before. Raises
    RequestError for a manifest that no engine reads, with the bundle as it was."""
    with replace_file(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        read_manifest(part)
        for name, path in (new_files or {}).items():
            path.replace(folder / name)
