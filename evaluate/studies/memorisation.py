"""Memorisation by likelihood: whether a model finds its training pictures more likely than pictures kept back.

The likelihoods come from `python -m trainer likelihood`, one file per folder of pictures. A gap between the two sides,
or a way to tell them apart by it, is what attacks on the membership of a picture use (Carlini et al. 2023,
arXiv:2301.13188).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from engine.errors import RequestError
from evaluate.images import PictureFolder, first_of
from evaluate.studies.score import Figure
from evaluate.typed_json import parse

__all__ = ["DEFINITIONS", "Memorisation", "measure_memorisation"]

FORMAT = "cytosynth-likelihood-1"
CONFIDENCE = 0.9
RESAMPLES = 1000

DEFINITIONS = {
    "bits per dimension": "- log2 of the model's density of a latent, divided by its number of values, by the "
    "probability-flow ODE; less is more likely",
    "gap": "mean of the held-out pictures minus mean of the training pictures. 0 without memorisation",
    "told apart": "probability that a training picture has fewer bits than a held-out one (area under the ROC curve). "
    "50 % without memorisation",
}

Values = NDArray[np.float64]


@dataclass(frozen=True)
class PictureLikelihood:
    """One picture in a file of `trainer likelihood`."""

    sha256: str
    bits_per_dimension: float
    standard_error: float


@dataclass(frozen=True)
class LikelihoodFile:
    """What this study reads of a file of `trainer likelihood`."""

    format: str
    model: dict[str, Any]
    """The model and the settings of the estimate."""
    pictures: list[PictureLikelihood]


@dataclass(frozen=True)
class Side:
    """Bits per dimension of one folder."""

    pictures: int
    mean: float
    deviation: float
    """Standard deviation between pictures."""
    estimate_error: float
    """Standard error of the mean that Hutchinson's estimator causes."""


@dataclass(frozen=True)
class Memorisation:
    """Training pictures against held-out pictures."""

    training: Side
    held_out: Side
    gap: Figure
    told_apart: Figure
    model: dict[str, Any]


def _read_all(paths: Sequence[Path]) -> tuple[dict[str, Any], dict[str, PictureLikelihood]]:
    """Return the model of the files, and the likelihood of each picture by its SHA-256.

    Raises RequestError if a file is not one of `trainer likelihood`, or if the files are of different models.
    """
    found = [_read(path) for path in paths]
    for path, file in zip(paths[1:], found[1:], strict=True):
        if wrong := [name for name, value in found[0].model.items() if file.model.get(name) != value]:
            raise RequestError(
                f"The likelihoods {path}",
                found=f"another {wrong[0]} than in {paths[0]}",
                expected="files of one model and of the same settings",
                fix="run `python -m trainer likelihood` for both folders with the same options",
            )
    return found[0].model, {picture.sha256: picture for file in found for picture in file.pictures}


def measure_memorisation(paths: Sequence[Path], training: PictureFolder, held_out: PictureFolder) -> Memorisation:
    """Compare the likelihoods of training pictures with those of held-out pictures.

    Raises RequestError if `trainer likelihood` did not write a file, if the files are of different models, and if a
    picture has no likelihood.
    """
    model, known = _read_all(paths)
    trained, kept = (_likelihoods_of(folder, known) for folder in (training, held_out))
    sides = [np.array([picture.bits_per_dimension for picture in side]) for side in (trained, kept)]
    return Memorisation(
        training=_side(trained),
        held_out=_side(kept),
        gap=_interval(lambda train, held: float(held.mean() - train.mean()), sides),
        told_apart=_interval(_told_apart, sides),
        model=model,
    )


def _read(path: Path) -> LikelihoodFile:
    try:
        file: LikelihoodFile = parse(LikelihoodFile, json.loads(path.read_text(encoding="utf-8")), "file")
        if file.format != FORMAT:
            raise ValueError(f"the format {file.format!r}")
        if not all(np.isfinite((one.bits_per_dimension, one.standard_error)).all() for one in file.pictures):
            raise ValueError("values that are not finite")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The likelihoods {path}",
            found=str(error),
            expected=f"a file of the format {FORMAT}",
            fix="make it with `python -m trainer likelihood MERGED PICTURES --out FILE`",
        ) from error
    return file


def _likelihoods_of(folder: PictureFolder, known: dict[str, PictureLikelihood]) -> list[PictureLikelihood]:
    missing = [path.name for digest, path in zip(folder.hashes, folder.files, strict=True) if digest not in known]
    if missing:
        raise RequestError(
            f"The likelihoods of the pictures in {folder.path}",
            found=f"none for {len(missing)} of {len(folder)} pictures: {first_of(missing)}",
            expected="a likelihood for each picture, by its SHA-256",
            fix=f"add --likelihood with the file of `python -m trainer likelihood MERGED {folder.path} --out FILE`",
        )
    return [known[digest] for digest in folder.hashes]


def _side(pictures: Sequence[PictureLikelihood]) -> Side:
    bits = np.array([picture.bits_per_dimension for picture in pictures])
    errors = np.array([picture.standard_error for picture in pictures])
    return Side(len(bits), float(bits.mean()), float(bits.std()), float(np.sqrt((errors**2).sum()) / len(errors)))


def _told_apart(train: Values, held: Values) -> float:
    """The area under the ROC curve, from the statistic of Mann and Whitney."""
    return float(scipy.stats.mannwhitneyu(held, train).statistic / (len(train) * len(held)))


def _interval(figure: Callable[[Values, Values], float], sides: Sequence[Values]) -> Figure:
    found = scipy.stats.bootstrap(
        sides,
        figure,
        n_resamples=RESAMPLES,
        vectorized=False,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Figure(figure(*sides), float(found.low), float(found.high))
