"""Zip files. The same files give the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["MODE", "File", "write_zip", "zip_pieces"]

File = tuple[str, bytes]
"""Name and content of a file."""
MODE = 0o644
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The first moment of zip's calendar."""


def zip_pieces(files: Iterable[File]) -> Iterator[bytes]:
    """Yield the bytes of a zip, file by file. They are stored, because pictures are compressed already."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            member = zipfile.ZipInfo(name, ZIP_TIME)
            member.external_attr = MODE << 16
            archive.writestr(member, content)
            yield sink.taken()
    yield sink.taken()


def write_zip(path: Path, files: Iterable[File]) -> None:
    """Write a zip."""
    with path.open("wb") as file:
        for piece in zip_pieces(files):
            file.write(piece)


class _Sink(io.RawIOBase):
    """A file that cannot seek, whose new bytes are taken out again and again."""

    def __init__(self) -> None:
        self._new = bytearray()

    def writable(self) -> bool:
        """Say that this file can be written."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Take bytes."""
        self._new += content
        return len(content)

    def taken(self) -> bytes:
        """Return the bytes since the last call."""
        found, self._new = bytes(self._new), bytearray()
        return found
