"""Output formats: one folder per class, or the tar shards of WebDataset."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import CytosynthError, RequestError
from engine.files import replace_file, write_json
from engine.output.chunks import Piece
from engine.output.provenance import png_text

__all__ = [
    "FORMATS",
    "ImageFolder",
    "Output",
    "PictureWriter",
    "WebDataset",
    "encode_png",
    "make_output",
    "shard_counts",
]


FORMATS = ("imagefolder", "webdataset")


@dataclass(frozen=True)
class Output:
    """Where and in which format a run is written."""

    folder: Path
    format: str = FORMATS[0]
    shard_pictures: int | None = None
    """Number of pictures per WebDataset shard, or None for folders of pictures."""
    overwrite: bool = False
    piece: Piece | None = None
    """The piece of the run to make, or None for the whole run. `folder` is the folder of the piece."""


def make_output(
    folder: Path,
    file_format: str,
    width: int,
    height: int,
    shard_pictures: int | None = None,
    piece: Piece | None = None,
    *,
    overwrite: bool,
) -> Output:
    """Return the checked output. By default a shard is about 1 GB.

    folder: the folder of the run, or of the piece if a piece is made. Raises RequestError.
    """
    if file_format not in FORMATS:
        raise RequestError(
            "--format", found=file_format, expected=f"one of {', '.join(FORMATS)}", fix="choose one of these"
        )
    if shard_pictures is not None and (shard_pictures < 1 or file_format != "webdataset"):
        raise RequestError(
            "--shard-pictures",
            found=f"{shard_pictures} with --format {file_format}",
            expected="a number above 0, with --format webdataset",
            fix="change the value, or leave out the option",
        )
    if file_format == "webdataset" and shard_pictures is None:
        # These pictures take about 1.5 bytes per pixel.
        shard_pictures = max(1, int(2**30 / (1.5 * width * height)))
    return Output(folder, file_format, shard_pictures, overwrite, piece)


def encode_png(picture: NDArray[np.uint8], description: dict[str, Any]) -> bytes:
    """Return a picture (H, W, 3) uint8 RGB and its description as a PNG file."""
    file = io.BytesIO()
    # Level 1 is several times faster than the default, and files grow by a few per cent.
    Image.fromarray(picture).save(file, format="PNG", pnginfo=png_text(description), compress_level=1)
    return file.getvalue()


class PictureWriter(Protocol):
    """Writes the pictures of a run. Use it as a context manager."""

    def write(self, ordinal: int, index: int, label: int, png: bytes, description: dict[str, Any]) -> str:
        """Write picture `index` of a class, which is picture `ordinal` of the run. Return its name in the folder."""
        ...

    def flush(self) -> None:
        """Pass everything to the operating system, so that metadata may list the pictures."""
        ...

    def finish(self) -> None:
        """Write the files that complete a run (for example _info.json)."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ImageFolder:
    """Writes `<class>/<index>.png`, which torchvision's ImageFolder and Hugging Face datasets read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, ordinal: int, index: int, label: int, png: bytes, description: dict[str, Any]) -> str:
        """See PictureWriter."""
        name = f"{description['class']}/{index:06d}.png"
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        with replace_file(path) as part:
            part.write_bytes(png)
        return name

    def flush(self) -> None:
        """Do nothing: every file is closed already."""

    def finish(self) -> None:
        """Do nothing: a complete run needs no more files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def shard_counts(metadata: Path) -> Counter[int]:
    """Return the number of pictures that metadata.jsonl lists in each shard."""
    counts: Counter[int] = Counter()
    if metadata.exists():
        with metadata.open(encoding="utf-8") as file:
            for line in file:
                shard = str(json.loads(line)["file_name"]).split(".tar/")[0]
                counts[int(shard.rsplit("-", 1)[-1])] += 1
    return counts


class WebDataset:
    """Writes shards `<name>-000000.tar` and `_info.json`, which timm reads.

    A shard holds `per_shard` pictures, each as `.png`, `.cls` (the index of the class) and `.json`. It covers a fixed
    range of the run, even if pictures in this range failed. A killed run is resumed inside its shard.
    """

    def __init__(self, folder: Path, name: str, *, per_shard: int, done: int, written: Mapping[int, int]) -> None:
        """done: number of pictures of the run before this call. written: number of pictures in each shard so far."""
        self._folder, self._name, self.per_shard = folder, name, per_shard
        self._counts = dict(written)
        self._tar: tarfile.TarFile | None = None
        self._file: BinaryIO | None = None
        self._shard = -1
        current = done // per_shard
        for path in list(folder.iterdir()):
            match = re.fullmatch(rf"{re.escape(name)}-(\d{{6}})\.tar(\.part)?", path.name)
            shard = int(match[1]) if match else current
            if match and (shard > current or not self._counts.get(shard)):
                path.unlink()
            elif match and match[2] and shard < current:
                # A full shard is closed when the next one begins. A killed run may not have done that.
                self._reopen(shard)
                self._close()
        if done % per_shard and self._counts.get(current):
            self._reopen(current)

    def _path(self, shard: int) -> Path:
        return self._folder / f"{self._name}-{shard:06d}.tar"

    def _part(self, shard: int) -> Path:
        return self._path(shard).with_suffix(".tar.part")

    def _reopen(self, shard: int) -> None:
        """Resume a shard after the pictures that metadata.jsonl lists."""
        part = self._part(shard)
        if self._path(shard).exists() and not part.exists():
            os.replace(self._path(shard), part)
        offset = 0
        try:
            with tarfile.open(part, "r:") as tar:
                for _ in range(3 * self._counts.get(shard, 0)):
                    member = tar.next()
                    if member is None:
                        raise EOFError(f"fewer pictures than the {self._counts[shard]} in metadata.jsonl")
                    offset = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        except (OSError, EOFError, tarfile.TarError) as error:
            raise CytosynthError(
                f"The shard {part}",
                found=str(error),
                expected="the shard that the run was writing",
                fix="start again with --overwrite",
            ) from error
        self._open(shard, offset)

    def _open(self, shard: int, offset: int) -> None:
        part = self._part(shard)
        part.touch()
        os.truncate(part, offset)
        self._file = part.open("r+b")
        self._file.seek(offset)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._shard = shard

    def write(self, ordinal: int, index: int, label: int, png: bytes, description: dict[str, Any]) -> str:
        """See PictureWriter."""
        shard = ordinal // self.per_shard
        if shard != self._shard:
            self._close()
            self._open(shard, 0)
        assert self._tar is not None
        key = f"{description['class']}_{index:06d}"
        text = json.dumps(description, ensure_ascii=False).encode()
        for suffix, content in (("png", png), ("cls", str(label).encode()), ("json", text)):
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
        # TarFile remembers every member, and a shard may have tens of thousands.
        self._tar.members.clear()  # type: ignore[attr-defined]
        self._counts[shard] = self._counts.get(shard, 0) + 1
        return f"{self._path(shard).name}/{key}.png"

    def flush(self) -> None:
        """See PictureWriter."""
        if self._file is not None:
            self._file.flush()

    def _close(self) -> None:
        if self._tar is None or self._file is None:
            return
        self._tar.close()
        self._file.close()
        os.replace(self._part(self._shard), self._path(self._shard))
        self._tar = self._file = None

    def finish(self) -> None:
        """See PictureWriter."""
        self._close()
        shards = sorted(self._counts)
        info = {
            "name": "train",
            "num_samples": sum(self._counts.values()),
            "filenames": [self._path(shard).name for shard in shards],
            "shard_lengths": [self._counts[shard] for shard in shards],
        }
        write_json(self._folder / "_info.json", {"splits": {"train": info}})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
