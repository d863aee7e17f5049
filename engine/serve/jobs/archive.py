"""The finished pictures of a job as a tar or zip, made while it is sent: no copy lies on the disk.

A tar in the layout webdataset is a shard of WebDataset: each picture as `.png`, `.cls` (index of the class) and
`.json`. The layout imagefolder has one folder per class and metadata.jsonl, as `engine generate` writes them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine.output.journal import FAILED, METADATA, RUN
from engine.output.sheet import SHEET
from engine.serve.jobs.results import Picture, pictures_from
from engine.serve.zips import MODE, File, zip_pieces

__all__ = ["LAYOUTS", "tar_of", "zip_of"]

LAYOUTS = ("imagefolder", "webdataset")
BESIDE = (RUN, FAILED, "croissant.json", SHEET)
"""Files of a run beside its pictures and their metadata."""


def tar_of(folder: Path, layout: str, class_names: Sequence[str], changed: float) -> Iterator[bytes]:
    """Yield the bytes of a tar.

    Args:
        folder: The folder of pictures of a job.
        layout: One of LAYOUTS.
        class_names: The classes of the job in its order; the place of a class is its label.
        changed: Time of the members, in seconds since 1970.
    """
    files = _files(folder) if layout == LAYOUTS[0] else _samples(folder, class_names)
    size = 0
    for name, content in files:
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(content), int(changed), MODE
        for piece in (member.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % tarfile.BLOCKSIZE)):
            size += len(piece)
            yield piece
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(size + end) % tarfile.RECORDSIZE)


def zip_of(folder: Path) -> Iterator[bytes]:
    """Yield the bytes of a zip in the layout imagefolder."""
    return zip_pieces(_files(folder))


def _files(folder: Path) -> Iterator[File]:
    lines: list[bytes] = []
    for picture in pictures_from(folder):
        yield f"{picture.row['class']}/{picture.path.name}", picture.path.read_bytes()
        lines.append(json.dumps(picture.row, ensure_ascii=False).encode() + b"\n")
    yield METADATA, b"".join(lines)
    for name in BESIDE:
        if (folder / name).is_file():
            yield name, (folder / name).read_bytes()


def _samples(folder: Path, class_names: Sequence[str]) -> Iterable[File]:
    for picture in pictures_from(folder):
        key, row = _key(picture), {name: value for name, value in picture.row.items() if name != "file_name"}
        yield f"{key}.png", picture.path.read_bytes()
        yield f"{key}.cls", str(class_names.index(picture.row["class"])).encode()
        yield f"{key}.json", json.dumps(row, ensure_ascii=False).encode()


def _key(picture: Picture) -> str:
    return f"{picture.row['class']}_{picture.index:06d}"
