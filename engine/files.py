"""Writing files so that they are always whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import RequestError

__all__ = ["expect_folder_of", "replace_file", "sha256_of", "write_json", "write_text"]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. The file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect_folder_of(path: Path) -> None:
    """Raise RequestError unless the folder of a file that will be written exists."""
    if not path.parent.is_dir():
        raise RequestError(
            f"The file {path}", found=f"no folder {path.parent}", expected="an existing folder", fix="create the folder"
        )


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It replaces `path` if the block succeeds, and is removed if it fails."""
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text."""
    with replace_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file by indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
