"""The page of the blind test: shuffled real and synthetic pictures, which a reader tells apart without help."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import RequestError
from evaluate.class_folders import FolderPair
from evaluate.images import PictureFolder, resize
from evaluate.report.html import make_environment
from evaluate.studies.morphology import LARGEST
from evaluate.studies.probe import jpeg_quality, through_jpeg

__all__ = ["BlindPicture", "choose_pictures", "render_blind"]

FNV_OFFSET, FNV_PRIME = 0x811C9DC5, 0x01000193


@dataclass(frozen=True)
class BlindPicture:
    """A picture of the page."""

    name: str
    """Eight random hexadecimal digits. One bit of their hash is the truth, so that the source of the page does not
    show it."""
    source: str
    """The picture as a data URL."""


def choose_pictures(pairs: Mapping[str, FolderPair], n: int, seed: int) -> list[BlindPicture]:
    """Return n / 2 real and n / 2 synthetic pictures in random order, as many of each class on both sides.

    All are uncompressed PNG files of one size in pixels and in bytes, without metadata. They have the smallest side of
    the folders, at most 512 pixels. Pictures of one source are shown once. Folders of different formats pass through
    JPEG, as in `probe`. The same arguments give the same list.

    Raises RequestError for an odd n, and for a class with too few pictures.
    """
    if n % 2:
        raise RequestError("--n", found=str(n), expected="an even number, half for each side", fix="change the number")
    side = min(LARGEST, *(folder.side for pair in pairs.values() for folder in (pair.real, pair.fake)))
    rng = np.random.default_rng(seed)
    shares = _shares(n // 2, len(pairs))
    chosen = [
        (picture, truth)
        for (class_name, pair), share in zip(pairs.items(), shares, strict=True)
        for truth, folder in enumerate((pair.real, pair.fake))
        for picture in _draw(folder, share, side, jpeg_quality(pair.real, pair.fake, None), rng, class_name)
    ]
    order = rng.permutation(len(chosen))
    return [BlindPicture(_name(chosen[place][1], rng), _as_url(chosen[place][0])) for place in order]


def render_blind(pictures: list[BlindPicture], subject: str, seed: int) -> str:
    """Return the page, which needs no other file and no network.

    subject: what every picture shows, for example "a monocyte".
    """
    template = make_environment().get_template("blind.html")
    rows = [{"name": one.name, "source": one.source} for one in pictures]
    return template.render(pictures=rows, subject=subject, seed=seed)


def _shares(total: int, classes: int) -> list[int]:
    """Return nearly equal numbers that sum to `total`."""
    return [total // classes + (place < total % classes) for place in range(classes)]


def _draw(
    folder: PictureFolder, count: int, side: int, jpeg: int, rng: np.random.Generator, class_name: str
) -> NDArray[np.uint8]:
    firsts = {folder.sources[place]: place for place in rng.permutation(len(folder)).tolist()}
    if len(firsts) < count:
        raise RequestError(
            f"The pictures of {class_name} in {folder.path}",
            found=f"{len(folder)} pictures of {len(firsts)} sources",
            expected=f"{count} pictures of different sources",
            fix="add pictures, or set a smaller --n",
        )
    pictures = folder.pick(rng.permutation(list(firsts.values()))[:count])
    if folder.side != side:
        pictures = resize(pictures, side)
    return np.stack([through_jpeg(picture, jpeg) for picture in pictures]) if jpeg and count else pictures


def _name(truth: int, rng: np.random.Generator) -> str:
    while True:
        name = f"{int(rng.integers(2**32)):08x}"
        if _bit(name) == truth:
            return name


def _bit(name: str) -> int:
    """Bit 16 of the FNV-1a hash of 32 bits. The page computes the same."""
    value = FNV_OFFSET
    for letter in name.encode():
        value = ((value ^ letter) * FNV_PRIME) % 2**32
    return value >> 16 & 1


def _as_url(picture: NDArray[np.uint8]) -> str:
    """Without compression all files have one length: the length of a compressed one would tell noise from its lack."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=0)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
