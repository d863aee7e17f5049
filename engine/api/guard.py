"""The guard of a test set: no picture in it may be synthetic."""

from __future__ import annotations

import io
import json
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from PIL import Image

from engine.errors import RequestError, first_line
from engine.files import is_system_file
from engine.output.journal import METADATA
from engine.pictures import SUFFIXES, is_synthetic

__all__ = ["expect_real"]

Source = TypeVar("Source")


def expect_real(source: Source) -> Source:
    """Return `source` if every picture in it is real, for example in `ImageFolder(expect_real("test"))`.

    A picture is synthetic if one of these marks it: the text in its PNG file, the `.json` file beside it or in its
    shard, the metadata.jsonl of its folder, the field `synthetic` of its sample, or its data set. The whole source is
    read once.

    Args:
        source: A folder of pictures or WebDataset shards at any depth, one or several such files, or a data set. A data
            set can be torch's Subset and ConcatDataset, torchvision's ImageFolder, SyntheticCells, WebDataset, one of
            Hugging Face, a loader of any of these, or a list of samples.

    Raises RequestError, a CytosynthError, that names the first synthetic picture. Also raises it if there is no
    picture, if a picture cannot be read, or if a sample holds nothing that tells, such as pixels only.
    """
    empty = True
    for name, synthetic in _judged(source):
        empty = False
        if synthetic:
            raise RequestError(
                f"The picture {name}",
                found="a synthetic picture",
                expected="only real pictures in a test set",
                fix="remove the synthetic pictures, or split the real pictures before you add synthetic ones",
            )
    if empty:
        raise RequestError(
            f"The test set {_shown(source)}", found="no picture", expected="real pictures", fix="check the path"
        )
    return source


def _shown(source: Any) -> str:
    return str(source) if isinstance(source, str | PurePath) else f"of type {type(source).__name__}"


def _judged(source: Any) -> Iterator[tuple[str, bool]]:
    """Yield the name of each picture, and whether it is synthetic."""
    if isinstance(source, str | PurePath):
        yield from _in_files(Path(source))
    elif hasattr(source, "dataset") and not hasattr(source, "indices"):
        # A loader: its batches no longer hold the marks of their samples.
        yield from _judged(source.dataset)
    elif hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        for index in range(len(source)):
            yield from _in_data_set(*_origin(source, index))
    elif hasattr(source, "__next__"):
        raise RequestError(
            "The test set",
            found="an iterator, which can be read only once",
            expected="a data set",
            fix="pass the data set itself instead of its loader",
        )
    else:
        for index, sample in enumerate(source):
            yield from _in_sample(f"{index} of {type(source).__name__}", sample)


def _origin(data: Any, index: int) -> tuple[Any, int]:
    """Return the data set of a sample inside torch's Subset and ConcatDataset, and the index of the sample there."""
    while True:
        if hasattr(data, "dataset") and hasattr(data, "indices"):
            data, index = data.dataset, data.indices[index]
        elif hasattr(data, "datasets") and hasattr(data, "cumulative_sizes"):
            place = bisect_right(data.cumulative_sizes, index)
            index -= data.cumulative_sizes[place - 1] if place else 0
            data = data.datasets[place]
        else:
            return data, index


def _in_data_set(data: Any, index: int) -> Iterator[tuple[str, bool]]:
    name = f"{index} of {type(data).__name__}"
    if hasattr(data, "synthetic"):
        yield name, bool(data.synthetic)
    elif hasattr(data, "samples") and isinstance(data.samples[index][0], str | PurePath):
        # torchvision's ImageFolder keeps the paths of its files. Its samples may be tensors.
        yield from _in_files(Path(data.samples[index][0]))
    else:
        yield from _in_sample(name, data[index])


def _in_sample(name: str, sample: Any) -> Iterator[tuple[str, bool]]:
    if isinstance(sample, str | PurePath):
        yield from _in_files(Path(sample))
        return
    marks = list(_marks(name, sample))
    if not marks:
        raise RequestError(
            f"The sample {name}",
            found="nothing that tells whether the sample is synthetic",
            expected="a picture file, an undecoded or a PIL picture, or a field `synthetic` beside the pixels",
            fix="pass the folder or the shards instead of the data set",
        )
    yield name, any(marks)


def _marks(name: str, sample: Any) -> Iterator[bool]:
    """Yield every mark of a sample that tells whether it is synthetic."""
    if isinstance(sample, Image.Image):
        yield is_synthetic(sample)
    elif isinstance(sample, Mapping):
        if "synthetic" in sample:
            yield bool(sample["synthetic"])
        for key, value in sample.items():
            yield from _marks_of_content(name, key, value) if isinstance(value, bytes) else _marks(name, value)
    elif hasattr(sample, "synthetic"):
        yield bool(sample.synthetic)
    elif isinstance(sample, tuple | list):
        for part in sample:
            yield from _marks(name, part)


def _in_files(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the marks of a picture and of the `.json` beside it.

    If the path is a shard or a folder, yield the marks of all its members.
    """
    if path.is_dir():
        for inner in _files_below(path):
            if inner.name == METADATA:
                yield from _in_metadata(inner)
            elif inner.suffix.lower() in (*SUFFIXES, ".tar") and inner.is_file():
                yield from _in_files(inner)
        return
    beside = path.with_suffix(".json")
    try:
        if path.suffix.lower() == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    hidden = is_system_file(member.name.rsplit("/", 1)[-1])
                    if not hidden and (file := tar.extractfile(member)) is not None:
                        name = f"{path}/{member.name}"
                        for mark in _marks_of_content(name, member.name, file.read()):
                            yield name, mark
            return
        contents = {part: part.read_bytes() for part in (path, beside) if part == path or part.is_file()}
    except (OSError, tarfile.TarError) as error:
        raise _unreadable(str(path), error) from error
    for part, content in contents.items():
        for mark in _marks_of_content(str(part), part.name, content):
            yield str(path), mark


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield all files at any depth, except those of the operating system.

    Links to folders are followed, as torchvision's ImageFolder does.
    """
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        # A link may lead back to a parent folder.
        if (resolved := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(resolved)
        folders[:] = sorted(name for name in folders if not is_system_file(name))
        yield from (Path(place, file) for file in sorted(files) if not is_system_file(file))


def _in_metadata(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the existing pictures that a metadata.jsonl marks as synthetic."""
    try:
        with path.open(encoding="utf-8") as file:
            for row in (json.loads(line) for line in file if line.strip()):
                name = row.get("file_name") if isinstance(row, dict) else None
                if isinstance(name, str) and any(_marks(name, row)) and (path.parent / name).is_file():
                    yield str(path.parent / name), True
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(str(path), error) from error


def _marks_of_content(name: str, file_name: str, content: bytes) -> Iterator[bool]:
    """Yield the marks of a file, or nothing if the file is neither a picture nor JSON."""
    # Path.suffix does not work here, because the name of a member in a sample may be just `png`.
    ending = f".{file_name.rsplit('.', 1)[-1].lower()}"
    try:
        if ending == ".json":
            yield from _marks(name, json.loads(content))
        elif ending in SUFFIXES:
            with Image.open(io.BytesIO(content)) as picture:
                yield is_synthetic(picture)
    except (OSError, SyntaxError, ValueError, RecursionError, Image.DecompressionBombError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> RequestError:
    return RequestError(
        f"The picture {name}",
        found=f"unreadable ({first_line(error)})",
        expected="an intact file",
        fix="replace or remove the file",
    )
