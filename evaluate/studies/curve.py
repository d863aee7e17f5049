"""`curve`: figures of checkpoints against training steps, beside the figures that the thesis published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluate.encoders.features import Encoder, blurred_features, features_of
from evaluate.images import PictureFolder
from evaluate.studies.score import Compared, Score, ScoreSettings, score
from evaluate.studies.thesis import MEANS, PUBLISHED, TABLES

__all__ = ["DEFINITIONS", "SHOWN", "CurveResults", "Sampling", "Scores", "ThesisClass", "published_of", "score_all"]

SHOWN = {
    "inception": ("FID-64", "FID-2048", "IS-10"),
    "cyto": ("FD-cyto", "IS-cyto-10"),
    "imagenet": ("FD-imagenet",),
}
"""The figures in tables and plots, by encoder. A record holds every figure."""
DEFINITIONS = {
    "thesis": "FID and IS as the thesis printed them, for Stable Diffusion 1.5 at 512 x 512 on pictures that are not"
    " public. The thesis names no layer, and values below 1 cannot be FID-2048 on about 100 pictures. Only the shape of"
    " the curves can be compared with ours",
    "floor": "real pictures against other real pictures, N of each",
    "interval": "bootstrap over source pictures, 5th to 95th percentile",
}
Scores = dict[str, dict[int, dict[str, Score]]]
"""Scores by class, training steps and figure."""


@dataclass(frozen=True)
class Sampling:
    """How the pictures were sampled."""

    steps: int
    guidance_scale: float


@dataclass(frozen=True)
class ThesisClass:
    """FID and IS of one class, as the thesis published them."""

    table: str
    values: dict[int, tuple[float, float]]
    """By training steps."""
    mean: tuple[float, float]


@dataclass(frozen=True)
class CurveResults:
    """The results in a record of `curve`."""

    n: int
    bootstrap: int
    seed: int
    sampling: Sampling
    encoders: dict[str, str]
    """SHA-256 of each encoder."""
    checkpoints: dict[str, str]
    """SHA-256 of each checkpoint."""
    shown: list[str]
    """Figures in tables and plots."""
    classes: Scores
    thesis: dict[str, ThesisClass]
    """The classes that the thesis has, too."""
    thesis_overall: tuple[float, float]
    """Mean FID and IS over all classes and steps of the thesis."""


def score_all(
    encoders: Sequence[Encoder],
    reals: Mapping[str, PictureFolder],
    fakes: Mapping[str, Mapping[int, PictureFolder]],
    settings: ScoreSettings,
) -> Scores:
    """Score every checkpoint. The control `another class` is the next class of `reals`."""
    names = list(reals)
    scores: Scores = {name: {steps: {} for steps in fakes[name]} for name in names}
    for encoder in encoders:
        real = {name: features_of(encoder, folder) for name, folder in reals.items()}
        for place, name in enumerate(names):
            blurred = blurred_features(encoder, reals[name])
            other = real[names[(place + 1) % len(names)]] if len(names) > 1 else None
            for steps, folder in fakes[name].items():
                compared = Compared(real[name], blurred, features_of(encoder, folder), other, reals[name].sources)
                scores[name][steps] |= score(encoder.name, compared, settings)
    return scores


def published_of(class_names: Sequence[str]) -> dict[str, ThesisClass]:
    """Return what the thesis published, for the classes that the thesis covers."""
    return {name: ThesisClass(TABLES[name], PUBLISHED[name], MEANS[name]) for name in class_names if name in PUBLISHED}
