"""`copies`: the distance of each synthetic picture to its nearest training picture.

Held-out real pictures, which were not trained on, show which distances are normal. A picture that was derived from an
initial picture is also compared with that picture, which need not be a training picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.progress import Progress, silent
from evaluate.images import PictureFolder, first_of
from evaluate.studies.likeness import DISTANCE, Nearest, describe, describe_folder, distances_to_own, nearest_training
from evaluate.studies.memorisation import Memorisation

__all__ = [
    "DEFINITIONS",
    "DERIVED",
    "FEW",
    "Copies",
    "CopiesResults",
    "OwnPair",
    "OwnSources",
    "Pair",
    "Sources",
    "find_copies",
    "find_sources",
    "results_of",
]

PERCENTILE = 1.0
FEW = 100
"""With fewer held-out pictures the first percentile is close to their minimum."""

DEFINITIONS = {
    "distance": DISTANCE,
    "threshold": "1st percentile of the distances of held-out real pictures to their nearest training picture",
    "copy": "a synthetic picture closer to its nearest training picture than the threshold",
    "copy rate": "share of copies; by definition about 1 % for real pictures that were not trained on",
}

DERIVED = {
    "own initial picture": "the picture that `engine generate --init` varied, found by the SHA-256 in the text of the "
    "synthetic picture; the distance to it is measured as the distance to a training picture",
    "copy": "a synthetic picture closer than the threshold to its nearest training picture or to its own initial "
    "picture",
}
"""Definitions of a folder that has derived pictures."""

Sources = Mapping[str, tuple[PictureFolder, int]]
"""The folder and index of each initial picture, by the file name of the synthetic picture."""


@dataclass(frozen=True)
class Copies:
    """The distances of both folders, the threshold, and the copies among the synthetic pictures."""

    synthetic: Nearest
    held_out: Nearest
    threshold: float
    copies: NDArray[np.intp]
    """Indices of the synthetic pictures that are copies, nearest first."""
    own: NDArray[np.float64]
    """Distance of each synthetic picture to its own initial picture, (N,). NaN for a picture without one."""
    rate: float
    rate_low: float
    rate_high: float
    """Ends of the rate's 90 % interval (Wilson)."""
    held_out_rate: float

    def closest(self, count: int) -> NDArray[np.intp]:
        """Return the indices of the `count` synthetic pictures with the smallest distances, nearest first."""
        return self.synthetic.distances.argsort(kind="stable")[:count]

    def closest_to_own(self, count: int | None = None) -> NDArray[np.intp]:
        """Return the indices of the `count` (None: all) derived pictures that are closest to their initial pictures."""
        order = self.own.argsort(kind="stable")
        return order[np.isfinite(self.own[order])][:count]


@dataclass(frozen=True)
class Pair:
    """File names of a synthetic picture and its nearest training picture."""

    synthetic: str
    training: str
    distance: float


@dataclass(frozen=True)
class OwnPair:
    """File names of a synthetic picture and of the initial picture that it was derived from."""

    synthetic: str
    initial: str
    distance: float


@dataclass(frozen=True)
class OwnSources:
    """The derived pictures of a folder against their own initial pictures."""

    pictures: int
    """Number of derived pictures."""
    closer: int
    """Number of them that are closer to their own initial picture than the threshold."""
    share: float
    share_low: float
    share_high: float
    """Ends of the share's 90 % interval (Wilson)."""
    pairs: list[OwnPair]
    """All derived pictures, nearest first."""


@dataclass(frozen=True)
class CopiesResults:
    """The results in a record of `copies`."""

    threshold: float
    rate: float
    rate_low: float
    rate_high: float
    held_out_rate: float
    copies: list[str]
    """File names, nearest first."""
    closest: list[Pair]
    distances: dict[str, list[float]]
    """Of `synthetic` and `held out`, in the order of the files, rounded."""
    own: OwnSources | None = None
    """None if no picture was derived from an initial picture."""
    memorisation: Memorisation | None = None
    """None if no likelihoods were given."""


def find_sources(synthetic: PictureFolder, folders: Iterable[PictureFolder]) -> Sources:
    """Return the initial pictures of the derived pictures of a folder. Empty if it has none.

    Raises RequestError if an initial picture is in none of the folders, compared by SHA-256.
    """
    if not synthetic.initials:
        return {}
    places: dict[str, tuple[PictureFolder, int]] = {}
    for folder in folders:
        for index, digest in enumerate(folder.hashes):
            places.setdefault(digest, (folder, index))
    missing = {name: initial for name, initial in synthetic.initials.items() if initial.sha256 not in places}
    if missing:
        raise RequestError(
            f"The initial pictures of {len(missing)} of {len(synthetic)} pictures in {synthetic.path}",
            found=first_of([f"{name}: no {one.name} with SHA-256 {one.sha256}" for name, one in missing.items()]),
            expected="every initial picture, unchanged, in --train or --sources",
            fix="add --sources with the folder that `engine generate --init` read",
        )
    return {name: places[initial.sha256] for name, initial in synthetic.initials.items()}


def find_copies(
    synthetic: PictureFolder,
    training: PictureFolder,
    held_out: PictureFolder,
    sources: Sources | None = None,
    progress: Progress = silent,
) -> Copies:
    """Compare every synthetic and every held-out picture with every training picture, and every derived picture with
    its own initial picture. Deterministic."""
    described = describe_folder(synthetic)
    both = np.concatenate([described, describe_folder(held_out)])
    nearest = nearest_training(both, describe_folder(training), progress)
    found, reference = (
        Nearest(nearest.distances[part], nearest.indices[part])
        for part in (slice(len(synthetic)), slice(len(synthetic), None))
    )
    own = np.full(len(synthetic), np.nan)
    if sources:
        derived = [place for place, file in enumerate(synthetic.files) if file.name in sources]
        initial = [sources[synthetic.files[place].name] for place in derived]
        initials = describe(folder.pick([place])[0] for folder, place in initial)
        own[derived] = distances_to_own(described[derived], initials, progress)
    threshold = float(np.percentile(reference.distances, PERCENTILE))
    smallest = np.fmin(found.distances, own)
    order = np.argsort(smallest, kind="stable")
    copies = order[smallest[order] < threshold]
    interval = scipy.stats.binomtest(len(copies), len(synthetic)).proportion_ci(0.9, "wilson")
    return Copies(
        found,
        reference,
        threshold,
        copies,
        own,
        len(copies) / len(synthetic),
        float(interval.low),
        float(interval.high),
        float((reference.distances < threshold).mean()),
    )


def results_of(found: Copies, synthetic: PictureFolder, training: PictureFolder, pairs: int) -> CopiesResults:
    """Return the results with file names in place of indices, and the `pairs` closest pairs of training pictures."""
    return CopiesResults(
        threshold=found.threshold,
        rate=found.rate,
        rate_low=found.rate_low,
        rate_high=found.rate_high,
        held_out_rate=found.held_out_rate,
        copies=[synthetic.files[place].name for place in found.copies],
        closest=[
            Pair(
                synthetic.files[place].name,
                training.files[found.synthetic.indices[place]].name,
                float(found.synthetic.distances[place]),
            )
            for place in found.closest(pairs)
        ],
        distances={"synthetic": _rounded(found.synthetic), "held out": _rounded(found.held_out)},
        own=_own_sources(found, synthetic),
    )


def _own_sources(found: Copies, synthetic: PictureFolder) -> OwnSources | None:
    places = found.closest_to_own()
    if not len(places):
        return None
    closer = int((found.own[places] < found.threshold).sum())
    interval = scipy.stats.binomtest(closer, len(places)).proportion_ci(0.9, "wilson")
    names = [synthetic.files[place].name for place in places]
    return OwnSources(
        pictures=len(places),
        closer=closer,
        share=closer / len(places),
        share_low=float(interval.low),
        share_high=float(interval.high),
        pairs=[
            OwnPair(name, synthetic.initials[name].name, round(float(found.own[place]), 5))
            for name, place in zip(names, places, strict=True)
        ],
    )


def _rounded(nearest: Nearest) -> list[float]:
    return [round(float(value), 5) for value in nearest.distances]
