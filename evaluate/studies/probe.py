"""`probe`: how well a linear classifier tells real from synthetic pictures (a classifier two-sample test).

If the classifier does no better than by chance, the two sets of pictures look alike to its features (Lopez-Paz and
Oquab 2017, arXiv:1610.06545). Every accuracy is shown beside that of real against other real pictures.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.progress import Progress, silent
from evaluate.class_folders import FolderPair
from evaluate.encoders.features import Encoder
from evaluate.images import PictureFolder, Pictures, resize
from evaluate.studies import giveaways
from evaluate.studies.morphology import LARGEST
from evaluate.studies.score import Figure, sample_size, split_sources

__all__ = [
    "DEFINITIONS",
    "FEW",
    "LEAST",
    "ClassProbe",
    "Measured",
    "ProbeResults",
    "ProbeSettings",
    "Told",
    "check_sizes",
    "jpeg_quality",
    "measure_folder",
    "probe",
    "tell",
    "through_jpeg",
]

FOLDS = 5
QUALITY = 90
"""JPEG quality at which folders of different formats are compared. On pictures without losses, JPEG hides gradients of
about one grey level, which give synthetic pictures away, so that folders of one format are compared as they are."""
STRENGTH = 10.0
"""C of the logistic regression, times the number of features."""
LEAST = 10
"""Number of pictures on each side below which no probe is trained: each fold needs two of each side."""
FEW = 50
"""With fewer pictures on each side the accuracies say little."""

DEFINITIONS = {
    "accuracy": "cross-validated balanced accuracy of a linear classifier (standardised features, logistic regression) "
    "that tells N pictures from N others: 50 % is chance and 100 % means that every picture is recognised",
    "imagenet": "the same on the 1280 features of EfficientNet-Lite0, a network that no training of this project uses",
    **giveaways.DEFINITIONS,
    "real from real": "the same accuracy for two halves of the real pictures that share no source, N of each; nothing "
    "better can be expected",
    "interval": "synthetic: Wilson's 90 % interval for as many trials as the 2 N pictures have sources; real from real:"
    " 5th to 95th percentile over the random halves",
}


@dataclass(frozen=True)
class ProbeSettings:
    """How pictures are compared."""

    PANEL: ClassVar[str] = "Figures"

    n: int | None = setting(
        None, flag="--n", help="Number of pictures on each side, N. Default: as many as the folders allow."
    )
    splits: int = setting(10, within=Range(low=2), help="Number of random splits of the real pictures.")
    jpeg: int | None = setting(
        None,
        within=Range(low=0, high=95),
        help="Quality of the JPEG that both sides pass through in memory; 0 compares the pictures as they are saved. "
        f"Default: {QUALITY} if the two folders are saved in different formats, else 0",
    )
    cells: str = setting(
        "one", choices=("one", "many"), help="Cells per picture (one in the middle, as for blood, or many)"
    )
    seed: int = setting(0, within=Range(low=0), help="Seed of all random numbers.")

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Measured:
    """Features of a folder's pictures by their name, (N, D) each, and the source of each picture."""

    features: dict[str, NDArray[np.float64]]
    sources: Sequence[str]


@dataclass(frozen=True)
class Told:
    """Accuracies on one set of features: real from real pictures, and real from synthetic pictures."""

    control: Figure
    synthetic: Figure


@dataclass(frozen=True)
class ClassProbe:
    """The accuracies of one class."""

    n: int
    side: int
    """Side at which all pictures were compared, in pixels."""
    jpeg: int
    """Quality of the JPEG that both sides passed through; 0 if they were compared as they are saved."""
    accuracies: dict[str, Told]
    """By features: imagenet, and each group of measures made by hand."""


@dataclass(frozen=True)
class ProbeResults:
    """The results in a record of `probe`."""

    settings: ProbeSettings
    encoders: dict[str, str]
    """SHA-256 of each encoder."""
    classes: dict[str, ClassProbe]


def jpeg_quality(real: PictureFolder, fake: PictureFolder, wanted: int | None) -> int:
    """Return the quality of the JPEG that both folders pass through, 0 for none: what is wanted, or the default."""
    if wanted is not None:
        return wanted
    return 0 if real.formats == fake.formats else QUALITY


def through_jpeg(picture: Pictures, quality: int) -> Pictures:
    """Return a picture, (S, S, 3) uint8 RGB, as JPEG shows it. The colours keep their full resolution (4:4:4)."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    with Image.open(buffer) as shown:
        return np.asarray(shown)


def measure_folder(
    encoder: Encoder,
    folder: PictureFolder,
    side: int,
    jpeg: int = 0,
    *,
    one_cell: bool = True,
    progress: Progress = silent,
) -> Measured:
    """Return the features of a folder at a side in pixels, after JPEG of a quality (0 for none).

    Only one batch of pictures is in memory.
    """
    rows: dict[str, list[NDArray[np.floating]]] = {encoder.name: []}
    for batch in folder.batches(side):
        pictures = np.stack([through_jpeg(picture, jpeg) for picture in batch]) if jpeg else batch
        shown = pictures if encoder.size is None else resize(pictures, encoder.size)
        rows[encoder.name] += list(encoder(shown)["features"])
        for picture in pictures:
            for name, values in giveaways.giveaways(picture, one_cell=one_cell).items():
                rows.setdefault(name, []).append(values)
        progress(f"measures of {folder.path}", len(rows[encoder.name]), len(folder))
    return Measured({name: np.array(values, np.float64) for name, values in rows.items()}, folder.sources)


def check_sizes(pairs: Mapping[str, FolderPair], wanted: int | None = None) -> dict[str, int]:
    """Return the number of pictures on each side, N, by class.

    Raises RequestError if a class has fewer pictures than `wanted`, or than LEAST on each side, or too few sources for
    the folds.
    """
    found = {}
    for name, pair in pairs.items():
        found[name] = sample_size(pair.real.sources, len(pair.fake), {}, wanted, least=LEAST)
        for folder, least in ((pair.real, 2 * FOLDS), (pair.fake, FOLDS)):
            if (sources := len(set(folder.sources))) < least:
                raise RequestError(
                    f"The pictures in {folder.path}",
                    found=f"{len(folder)} pictures of {sources} sources",
                    expected=f"at least {least} sources: copies of one source must stay in one of {FOLDS} folds",
                    fix="add pictures of other sources",
                )
    return found


def probe(
    encoder: Encoder,
    real: PictureFolder,
    fake: PictureFolder,
    settings: ProbeSettings | None = None,
    progress: Progress = silent,
) -> ClassProbe:
    """Measure both folders at the smaller of their sides, at most 512 pixels, and return the accuracies of the probes.

    Raises RequestError as `check_sizes` does.
    """
    settings = settings or ProbeSettings()
    n = check_sizes({"": FolderPair(real, fake)}, settings.n)[""]
    side = min(real.side, fake.side, LARGEST)
    jpeg = jpeg_quality(real, fake, settings.jpeg)
    reals, fakes = (
        measure_folder(encoder, folder, side, jpeg, one_cell=settings.cells == "one", progress=progress)
        for folder in (real, fake)
    )
    # BLAS threads slow small matrices down.
    with threadpool_limits(1, "blas"):
        return ClassProbe(n, side, jpeg, tell(reals, fakes, n, settings))


def tell(real: Measured, fake: Measured, n: int, settings: ProbeSettings) -> dict[str, Told]:
    """Return the accuracies on each set of features, as means over random splits of the real pictures.

    Each split draws n real pictures as reference, n others for the control, and n synthetic pictures.
    """
    rng = np.random.default_rng(settings.seed)
    fake_sources = [f"synthetic {source}" for source in fake.sources]
    trials = min(len(set(real.sources)), n) + min(len(set(fake_sources)), n)
    drawn: dict[str, list[tuple[float, float]]] = {name: [] for name in real.features}
    for _ in range(settings.splits):
        reference, rest = (rows[:n] for rows in split_sources(real.sources, rng))
        chosen = rng.permutation(len(fake.sources))[:n]
        seed = int(rng.integers(2**31))
        for name, values in real.features.items():
            one = values[reference], [real.sources[row] for row in reference]
            others = (values[rest], [real.sources[row] for row in rest])
            synthetic = (fake.features[name][chosen], [fake_sources[row] for row in chosen])
            drawn[name].append((_accuracy(one, others, seed), _accuracy(one, synthetic, seed)))
    return {name: _told(np.array(pairs), trials) for name, pairs in drawn.items()}


Sample = tuple[NDArray[np.float64], Sequence[str]]
"""Features (N, D), and the source of each picture."""


def _accuracy(first: Sample, second: Sample, seed: int) -> float:
    """Return the balanced accuracy over FOLDS folds. Pictures of one source are in one fold.

    The regularisation is C = 10 / D for D standardised features, so that the prior variance of the classifier's logit
    is 10 for any number of features. It is fixed: a search would need folds within the folds, and between C = 1 / D and
    100 / D the accuracy on blood cells changes by less than 1 % for `imagenet`.
    """
    # scikit-learn takes a second to import, and the help of the command line needs only the settings.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([first[0], second[0]])
    y = np.repeat([0, 1], [len(first[0]), len(second[0])])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH / x.shape[1], max_iter=1000))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(model, x, y, groups=[*first[1], *second[1]], cv=folds)
    return float(balanced_accuracy_score(y, predicted))


def _told(pairs: NDArray[np.float64], trials: int) -> Told:
    """pairs: (splits, 2), the accuracies of control and synthetic pictures."""
    control, synthetic = pairs.mean(0).tolist()
    low, high = np.percentile(pairs[:, 0], [5, 95])
    interval = scipy.stats.binomtest(round(synthetic * trials), trials).proportion_ci(0.9, "wilson")
    # The mean over splits is no whole number of pictures, so it can lie outside by a rounding error.
    ends = min(float(interval.low), synthetic), max(float(interval.high), synthetic)
    return Told(Figure(control, float(low), float(high)), Figure(synthetic, *ends))
