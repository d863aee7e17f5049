"""The files of an ONNX graph, by which a compiled graph is known again without reading the graph."""

from __future__ import annotations

import re
from pathlib import Path

from engine.files import sha256_of

__all__ = ["hashes_of", "weights_of"]

KEY = b"\x0a\x08location"
"""The entry "location" of a tensor's external data, as protobuf writes the key of an entry."""
LOCATION = re.compile(re.escape(KEY) + rb"\x12([\x01-\x7f])", re.DOTALL)
"""The same with the length of the value, which is the name of a file. ONNX's writers put the value behind the key."""


def weights_of(graph: Path) -> list[Path] | None:
    """Return the files beside a graph that hold its weights.

    Returns None if the graph cannot be read, or if it names its weights in an unusual way.
    """
    try:
        content = graph.read_bytes()
        found = [*LOCATION.finditer(content)]
        if len(found) != content.count(KEY):
            return None
        names = {content[one.end() : one.end() + one[1][0]].decode() for one in found}
    except (OSError, ValueError):
        return None
    return [graph.parent / name for name in sorted(names)]


def hashes_of(graph: Path, weights: list[Path]) -> list[str] | None:
    """Return the SHA-256 of a graph's file and of each file of its weights. None if a file cannot be read."""
    try:
        return [sha256_of(graph), *(f"{path.name} {sha256_of(path)}" for path in weights)]
    except OSError:
        return None
