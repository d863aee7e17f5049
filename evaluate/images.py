"""Folders of pictures. Every file is checked before any figure is computed, and is then read in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from engine.errors import RequestError
from engine.files import sha256_of
from engine.pictures import PNG_KEY, SUFFIXES, class_names_of, is_synthetic, pictures_in, read_picture, strangers_in

__all__ = [
    "Initial",
    "PictureFolder",
    "Pictures",
    "blur",
    "compression_warnings",
    "expect_real",
    "first_of",
    "open_different",
    "open_folder",
    "refuse_shared",
    "resize",
]

Pictures = NDArray[np.uint8]
LOSSY = {"JPEG", "MPO", "WEBP"}
NAMED = 5
"""Number of wrong files that an error names. It counts all of them."""


@dataclass(frozen=True)
class Initial:
    """The initial picture that a synthetic picture was derived from, as `engine generate --init` states it."""

    name: str
    sha256: str


@dataclass(frozen=True)
class PictureFolder:
    """The pictures directly in a folder, sorted by name. All are intact, RGB, and squares of one size."""

    path: Path
    files: tuple[Path, ...]
    side: int
    marked: int = 0
    """Number of pictures whose metadata say that they are synthetic, as `engine generate` writes."""
    initials: Mapping[str, Initial] = field(default_factory=dict)
    """Initial pictures of the pictures that were derived from one, by file name."""

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of each file."""
        return tuple(map(sha256_of, self.files))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the names and the hashes of the files."""
        listing = "".join(f"{digest}  {path.name}\n" for digest, path in zip(self.hashes, self.files, strict=True))
        return hashlib.sha256(listing.encode()).hexdigest()

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The source picture of each file, from the sources.jsonl that `python -m trainer prepare` wrote beside the
        folder. Without that file, files with the same content have the same source.

        Raises RequestError if sources.jsonl cannot be read.
        """
        record = self.path.resolve().parent / "sources.jsonl"
        first: dict[str, str] = {}
        for digest, path in zip(self.hashes, self.files, strict=True):
            first.setdefault(digest, path.name)
        own = [first[digest] for digest in self.hashes]
        if not record.is_file():
            return tuple(own)
        try:
            lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
            known = {str(line["file_name"]): str(line["source"]) for line in lines}
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"The record {record}",
                found=f"{type(error).__name__}: {error}",
                expected="one JSON object per line with file_name and source, as `python -m trainer prepare` writes",
                fix="restore the file, or remove it: then every picture counts as its own source",
            ) from error
        name = self.path.resolve().name
        return tuple(known.get(f"{name}/{path.name}", mine) for path, mine in zip(self.files, own, strict=True))

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """Pillow's names of the formats in which the pictures are saved, for example ("JPEG", "PNG")."""
        return tuple(sorted({_format_of(path) for path in self.files}))

    @property
    def has_variants(self) -> bool:
        """Whether several pictures have the same source, as augmented copies do."""
        return len(set(self.sources)) < len(self)

    def batches(self, size: int | None = None, batch_size: int = 16) -> Iterator[Pictures]:
        """Yield batches, (B, size, size, 3) uint8 RGB. Pictures of another size are resized by Lanczos."""
        side = self.side if size is None else size
        for start in range(0, len(self.files), batch_size):
            yield np.stack([_resized(path, side) for path in self.files[start : start + batch_size]])

    def pick(self, indices: Iterable[int]) -> Pictures:
        """Return the pictures at these indices: (N, side, side, 3) uint8 RGB."""
        return np.stack([_resized(self.files[index], self.side) for index in indices])

    def read(self, size: int | None = None) -> Pictures:
        """Return all pictures: (N, size, size, 3) uint8 RGB."""
        return np.concatenate(list(self.batches(size)))


def _format_of(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.format)


def _resized(path: Path, side: int) -> Pictures:
    return _to_side(read_picture(path), side)


def _to_side(picture: Image.Image, side: int) -> Pictures:
    if picture.width != side:
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def resize(pictures: Pictures, side: int) -> Pictures:
    """Resize by Lanczos: (N, S, S, 3) uint8 -> (N, side, side, 3) uint8."""
    return np.stack([_to_side(Image.fromarray(picture), side) for picture in pictures])


def open_folder(path: Path) -> PictureFolder:
    """Decode every picture directly in a folder, and return the folder.

    Raises RequestError that counts and names the wrong files: files that cannot be decoded or have another format, and
    grey, transparent or CMYK pictures. A stain has colours, and the colours of transparent pixels and of inks are
    unknown. Also raises it for a folder without pictures, and unless all pictures are squares of one size.
    """
    files = pictures_in(path) if path.is_dir() else []
    inner = [name for name in class_names_of(path) if pictures_in(path / name)]
    if not files or (inner and (path / "metadata.jsonl").is_file()):
        found = "no such folder" if not path.exists() else "a file" if path.is_file() else "no picture directly inside"
        raise RequestError(
            f"The picture folder {path}",
            found=f"folders of pictures: {first_of(inner)}" if inner else found,
            expected=f"the pictures of one class, in files that end in {', '.join(SUFFIXES)}",
            fix=f"name {path / inner[0]}" if inner else "name the folder that contains the pictures themselves",
        )
    wrong: list[str] = []
    sizes: dict[tuple[int, int], list[str]] = {}
    marked = 0
    initials: dict[str, Initial] = {}
    for file in files:
        try:
            size, text = _check(file)
            sizes.setdefault(size, []).append(file.name)
            marked += text is not None
            if text is not None and (initial := _initial(text)) is not None:
                initials[file.name] = initial
        except RequestError as error:
            wrong.append(f"{file.name}: {error.found}")
    wrong += [f"{file.name}: not {', '.join(SUFFIXES)}" for file in strangers_in(path)]
    if wrong:
        raise RequestError(
            f"{len(wrong)} of the files in {path}, which contains {len(files)} pictures",
            found=first_of(wrong),
            expected="intact RGB pictures with 8 bits per channel, and no other pictures",
            fix="replace or convert these files, or move them out of the folder",
        )
    (width, height), *others = sizes
    if others or width != height:
        several = [f"{len(names)} of {w} x {h}, for example {names[0]}" for (w, h), names in sizes.items()]
        raise RequestError(
            f"The picture folder {path}",
            found=f"{len(sizes)} sizes: {first_of(several)}" if others else f"{width} x {height} pixels",
            expected="squares of one size, cropped as the pictures of the other folder are",
            fix="run `python -m trainer prepare` on real pictures, as for training; generate synthetic pictures again",
        )
    return PictureFolder(path, tuple(files), width, marked, initials)


def first_of(wrong: Sequence[str]) -> str:
    """Return the first few words of a list in one line, and the number of the remaining ones."""
    rest = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return "; ".join(wrong[:NAMED]) + rest


def _check(path: Path) -> tuple[tuple[int, int], str | None]:
    """Return (width, height), and the text that marks the picture as synthetic, or None if it is not marked.

    Raises RequestError unless the picture is opaque and in colour.
    """
    picture = read_picture(path)
    with Image.open(path) as file:
        text = str(file.info[PNG_KEY]) if is_synthetic(file) else None
        found = file.mode if file.mode not in ("RGB", "RGBA", "P", "PA", "YCbCr") else None
        if file.has_transparency_data and file.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            found = f"{file.mode} with transparency"
    if found is None:
        red, green, blue = (channel.tobytes() for channel in picture.split())
        found = "grey, its three channels equal," if red == green == blue else None
    if found is not None:
        raise RequestError(
            f"The picture {path}", found=f"{found} pixels", expected="opaque RGB", fix="convert the picture"
        )
    return picture.size, text


def _initial(text: str) -> Initial | None:
    """Return the initial picture that the text of a synthetic picture names, or None if it names none."""
    try:
        description = json.loads(text)
        return Initial(str(description["initial_picture"]), str(description["initial_sha256"]))
    except (ValueError, KeyError, TypeError):
        return None


def refuse_shared(
    named: Mapping[str, Sequence[PictureFolder]], allowed: Sequence[set[str]] = (), sources: Collection[str] = ()
) -> None:
    """Raise RequestError if folders of different names share a picture, compared by content, or if a synthetic picture
    was derived from a real picture of a folder of another name.

    allowed: sets of names that may share pictures. sources: names whose pictures others may be derived from.
    """
    holders: dict[str, dict[str, Path]] = {}
    for name, folders in named.items():
        for folder in folders:
            for digest, file in zip(folder.hashes, folder.files, strict=True):
                holders.setdefault(digest, {}).setdefault(name, file)
    shared = [found for found in holders.values() if len(found) > 1 and set(found) not in allowed]
    if shared:
        names = sorted({name for found in shared for name in found})
        raise RequestError(
            f"{len(shared)} pictures in more than one of {', '.join(names)}",
            found=first_of([" is ".join(str(file) for file in found.values()) for found in shared]),
            expected="folders that share no picture, because a shared picture falsifies every figure",
            fix="name other folders, or split the pictures again with all pictures of one source on one side",
        )
    _refuse_derived(named, sources)


def _refuse_derived(named: Mapping[str, Sequence[PictureFolder]], sources: Collection[str]) -> None:
    real = {
        digest: (name, file)
        for name, folders in named.items()
        if name not in sources
        for folder in folders
        if not folder.marked
        for digest, file in zip(folder.hashes, folder.files, strict=True)
    }
    derived = {
        folder.path / file: real[initial.sha256]
        for name, folders in named.items()
        for folder in folders
        for file, initial in folder.initials.items()
        if initial.sha256 in real and real[initial.sha256][0] != name
    }
    if derived:
        names = sorted({name for name, _ in derived.values()})
        raise RequestError(
            f"{len(derived)} synthetic pictures that were derived from pictures in {', '.join(names)}",
            found=first_of([f"{file} is derived from {source}" for file, (_, source) in derived.items()]),
            expected="synthetic pictures of other cells, because these contain what they are compared with",
            fix="compare with real pictures that no synthetic picture was derived from, or vary other pictures with "
            "`engine generate --init`",
        )


def expect_real(named: Mapping[str, PictureFolder]) -> None:
    """Raise RequestError if pictures that should be real say that they are synthetic."""
    for name, folder in named.items():
        if folder.marked:
            raise RequestError(
                f"{name}, the folder {folder.path}",
                found=f"{folder.marked} of {len(folder)} pictures say that they are synthetic",
                expected="real pictures",
                fix="name another folder; check that the real and the synthetic folder are not swapped",
            )


def compression_warnings(real: PictureFolder, fake: PictureFolder) -> list[str]:
    """Return a warning if only one side was compressed with loss, which changes every figure of texture."""
    kinds = {name: LOSSY.intersection(folder.formats) for name, folder in (("REAL", real), ("FAKE", fake))}
    if bool(kinds["REAL"]) == bool(kinds["FAKE"]):
        return []
    return [
        f"REAL is saved as {' and '.join(real.formats)} and FAKE as {' and '.join(fake.formats)}. JPEG is lossy, and "
        "its loss counts as a difference between real and synthetic pictures. Save both sides in the same format."
    ]


def open_different(named: Mapping[str, Path]) -> dict[str, PictureFolder]:
    """Open several folders, for example {"REAL": path, "FAKE": path}.

    Raises RequestError as open_folder does, and as refuse_shared does for two folders of which one shares pictures with
    the other or was derived from it.
    """
    places: dict[Path, str] = {}
    for name, path in named.items():
        if (other := places.setdefault(path.resolve(), name)) != name:
            raise RequestError(
                f"{other} and {name}",
                found=f"one folder, {path}",
                expected="two folders",
                fix="name another folder for one of them",
            )
    opened = {name: open_folder(path) for name, path in named.items()}
    refuse_shared({name: [folder] for name, folder in opened.items()})
    return opened


def blur(pictures: Pictures, share: float = 1 / 64) -> Pictures:
    """Blur with a Gaussian whose standard deviation is `share` of the side: (N, S, S, 3) uint8 -> the same."""
    sigma = share * pictures.shape[1]
    return scipy.ndimage.gaussian_filter(pictures.astype(np.float32), (0, sigma, sigma, 0)).round().astype(np.uint8)
