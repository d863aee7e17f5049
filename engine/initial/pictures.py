"""The files of initial pictures and masks: found, checked and hashed before anything is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.errors import RequestError
from engine.files import sha256_of
from engine.initial.masks import read_mask
from engine.initial.resize import RESIZE_MODES, fits
from engine.initial.settings import InitialRequest, InitialSettings
from engine.pictures import class_names_of, is_synthetic, pictures_in, read_with_alpha, strangers_in

__all__ = ["InitialPicture", "InitialPictures", "find_initial_pictures", "flat_picture", "source_facts"]

BACKGROUND = "white"
"""Colour below the transparent pixels of an initial picture."""


@dataclass(frozen=True)
class InitialPicture:
    """An initial picture and its mask, as they were when the request was checked."""

    path: Path
    sha256: str
    size: tuple[int, int]
    """Width and height in pixels."""
    synthetic: bool
    """Whether the picture itself is marked as synthetic."""
    mask: Path | None
    mask_sha256: str | None

    def facts(self) -> dict[str, Any]:
        """Return what the metadata of a picture states about its initial picture."""
        facts = source_facts(self.path, self.sha256, synthetic=self.synthetic)
        return facts if self.mask is None else {**facts, "mask": self.mask.name, "mask_sha256": self.mask_sha256}


@dataclass(frozen=True)
class InitialPictures:
    """The initial pictures of each class of a request."""

    by_class: Mapping[str, tuple[InitialPicture, ...]]

    def of(self, class_name: str, index: int) -> InitialPicture:
        """Return the initial picture of the picture with this index in its class."""
        own = self.by_class[class_name]
        return own[index % len(own)]

    @property
    def sha256(self) -> str:
        """SHA-256 of class, name and hashes of all pictures, in order."""
        digest = hashlib.sha256()
        for class_name, pictures in self.by_class.items():
            for one in pictures:
                words = [class_name, one.path.name, one.sha256, one.mask_sha256 or ""]
                digest.update("\0".join(words).encode() + b"\n")
        return digest.hexdigest()


def source_facts(path: Path, sha256: str, *, synthetic: bool) -> dict[str, Any]:
    """Return what the metadata of a derived picture states about the picture that it was derived from."""
    return {"initial_picture": path.name, "initial_sha256": sha256, "initial_synthetic": synthetic}


def flat_picture(picture: Image.Image) -> Image.Image:
    """Return a picture as RGB, on white if it is transparent."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, BACKGROUND)
    return Image.alpha_composite(ground, picture).convert("RGB")


def find_initial_pictures(
    settings: InitialSettings, request: InitialRequest, class_names: Iterable[str], size: tuple[int, int]
) -> tuple[InitialPictures, tuple[str, ...]]:
    """Return the initial pictures of each class, and warnings about what is used otherwise than it is.

    Every file is decoded and hashed once, one at a time. size: width and height that are drawn.

    Raises RequestError for the first file that cannot be used: unreadable, of another shape without --resize-mode,
    without its mask, with a mask of another size, or with a mask that repaints nothing.
    """
    assert settings.init is not None
    found: dict[Path, InitialPicture] = {}
    transparent: list[Path] = []
    by_class = {}
    for class_name in class_names:
        paths = _paths(settings.init, class_name)
        for path in paths:
            if path not in found:
                found[path] = _checked(path, settings, request, size, transparent)
        by_class[class_name] = tuple(found[path] for path in paths)
    warnings: tuple[str, ...] = ()
    if transparent:
        warnings = (
            f"{len(transparent)} initial pictures are transparent, such as {transparent[0].name}; they are laid on "
            f"{BACKGROUND}",
        )
    return InitialPictures(by_class), warnings


def _paths(init: Path, class_name: str) -> list[Path]:
    """Return the files of a class: the file itself, the pictures of the folder, or those of its folder of the class."""
    if init.is_file():
        return [init]
    if not init.is_dir():
        raise RequestError(
            f"--init {init}", found="no such file or folder", expected="a picture or a folder", fix="check the path"
        )
    folder = init
    if not pictures_in(init) and class_name in class_names_of(init):
        folder = init / class_name
    paths = pictures_in(folder)
    if strangers := strangers_in(folder):
        raise RequestError(
            f"The folder {folder}",
            found=f"{strangers[0].name}, which is no picture of a format that is read",
            expected="pictures",
            fix="convert or remove the file",
        )
    if not paths:
        raise RequestError(
            f"--init {init}",
            found="no pictures" if folder == init else f"no pictures in {folder}",
            expected=f"pictures in the folder, or in its folder {class_name}",
            fix="name another folder",
        )
    return paths


def _checked(
    path: Path, settings: InitialSettings, request: InitialRequest, size: tuple[int, int], transparent: list[Path]
) -> InitialPicture:
    picture = read_with_alpha(path)
    if picture.mode == "RGBA" and np.asarray(picture.getchannel("A")).min() < 255:
        transparent.append(path)
    # Only the surroundings of the mask are resized for a masked area, and these have the shape that is drawn.
    whole, base = request.inpaint_area == "whole", request.base_size(size)
    if whole and request.resize_mode is None and not fits(picture.size, base):
        raise RequestError(
            f"The initial picture {path}",
            found=f"{picture.width} x {picture.height} pixels",
            expected=f"the shape of {base[0]} x {base[1]} pixels, or a resize mode",
            fix=f"add --resize-mode {'|'.join(RESIZE_MODES)}, or other --width and --height",
        )
    mask = _mask_of(path, settings.mask)
    if mask is not None:
        read_mask(mask, picture.size, invert=request.mask_invert)
    # A worker on a cluster has another working directory.
    return InitialPicture(
        path.absolute(),
        sha256_of(path),
        picture.size,
        is_synthetic(picture),
        mask and mask.absolute(),
        None if mask is None else sha256_of(mask),
    )


def _mask_of(path: Path, masks: Path | None) -> Path | None:
    """Return the mask of an initial picture: the only one, or the picture of the same name in the folder."""
    if masks is None or masks.is_file():
        return masks
    if not masks.is_dir():
        raise RequestError(
            f"--mask {masks}", found="no such file or folder", expected="a mask or a folder", fix="check the path"
        )
    same = [file for file in pictures_in(masks) if file.stem == path.stem]
    if len(same) != 1:
        raise RequestError(
            f"The mask of the initial picture {path}",
            found=f"{len(same)} files of that name in {masks}",
            expected=f"one, for example {path.stem}.png",
            fix="add the mask, or name one mask for all pictures",
        )
    return same[0]
