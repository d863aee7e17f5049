"""`masks`: a mask of one region of each cell, as `engine generate --mask` reads them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from engine.files import expect_task_folder, read_task, replace_file, write_json
from engine.options import Range, check_settings, setting
from engine.pictures import expect_distinct_names
from engine.progress import Progress, silent
from evaluate.images import PictureFolder, resize
from evaluate.studies.morphology import LARGEST
from evaluate.studies.segmentation import segment

__all__ = ["RECORD", "MaskSettings", "Masks", "check_masks", "mask_of", "write_masks"]

RECORD = "masks.json"
"""The file that names the settings and the pictures of a folder of masks."""
REGIONS = ("nucleus", "cytoplasm", "cell", "background")


@dataclass(frozen=True)
class MaskSettings:
    """Which region becomes white. Raises RequestError for a value out of range."""

    PANEL: ClassVar[str] = "Masks"

    region: str = setting(choices=REGIONS, help="Region that is white in the mask, which is the part to repaint")
    cells: str = setting(
        "one", choices=("one", "many"), help="Cells per picture (one in the middle, as for blood, or many)"
    )
    grow: float = setting(0.0, within=Range(0, 256), help="Grow the region by this many pixels on all sides.")

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Masks:
    """What `write_masks` found."""

    made: int
    """Number of masks that were written now."""
    empty: list[str]
    """Names of the pictures in which the region was not found. They have no mask."""


def mask_of(picture: NDArray[np.uint8], settings: MaskSettings) -> NDArray[np.bool_]:
    """Return the mask of a region: (S, S, 3) uint8 RGB -> (S, S) bool. All False if there is no nucleus or no region.

    A picture of more than 512 pixels is segmented at 512, as in `morphology`.
    """
    side = len(picture)
    small = resize(picture[None], LARGEST)[0] if side > LARGEST else picture
    found = segment(small, one_cell=settings.cells == "one")
    if not found.nucleus.any():
        return np.zeros((side, side), bool)
    regions = {
        "nucleus": found.nucleus,
        "cytoplasm": found.cytoplasm,
        "cell": found.cell,
        "background": ~found.cell,
    }
    mask = np.asarray(Image.fromarray(regions[settings.region]).resize((side, side), Image.Resampling.NEAREST))
    if settings.grow and mask.any():
        mask = np.asarray(scipy.ndimage.distance_transform_edt(~mask) <= settings.grow)
    return mask


def check_masks(folder: PictureFolder, settings: MaskSettings, out: Path, *, overwrite: bool) -> dict[str, Any]:
    """Return what identifies the masks: the settings and the hash of every picture.

    Raises RequestError for two pictures of one name, and for an output folder with other files or, unless `overwrite`,
    with masks of other pictures or settings.
    """
    expect_distinct_names(folder.files)
    hashes = {path.name: digest for path, digest in zip(folder.files, folder.hashes, strict=True)}
    identity = {**asdict(settings), "pictures": hashes}
    others = "masks of other pictures or of other settings"
    expect_task_folder(out, RECORD, identity, others=others, overwrite=overwrite)
    return identity


def write_masks(
    folder: PictureFolder,
    settings: MaskSettings,
    out: Path,
    identity: dict[str, Any],
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Masks:
    """Write the mask of each picture as an 8-bit PNG: 255 in the region and 0 elsewhere.

    Masks that exist are kept, unless `overwrite`, also if they were painted by hand. identity: from `check_masks`.
    """
    out.mkdir(parents=True, exist_ok=True)
    if overwrite and (before := read_task(out, RECORD)) is not None:
        for name in before["pictures"]:
            _target(out, name).unlink(missing_ok=True)
    write_json(out / RECORD, identity)
    made, empty = 0, []
    for done, path in enumerate(folder.files, 1):
        target = _target(out, path.name)
        if not target.exists():
            mask = mask_of(folder.pick([done - 1])[0], settings)
            if mask.any():
                with replace_file(target) as part:
                    Image.fromarray(np.uint8(255) * mask.astype(np.uint8)).save(part, format="PNG")
                made += 1
            else:
                empty.append(path.name)
        progress("masks", done, len(folder))
    return Masks(made, empty)


def _target(out: Path, name: str) -> Path:
    return out / f"{Path(name).stem}.png"
