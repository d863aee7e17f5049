"""Compare two bundles by the records of their evaluation: a Markdown table on stdout.

    python -m recipes.before_after BEFORE AFTER

BEFORE and AFTER hold the records `score-<class>`, `probe-<class>` and `morphology-<class>` of the same classes, as
recipes/evaluation/before_after.sh leaves them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.arguments import existing_folder, script_parser
from engine.terminal import run_command_line
from evaluate.report.records import read_results
from evaluate.studies.morphology import Morphology
from evaluate.studies.probe import ProbeResults
from evaluate.studies.score import ScoreResults
from recipes.model_card import table

HEADER = [
    "class",
    "FD-imagenet, floors",
    "FD-cyto, floors",
    "precision",
    "recall",
    "probe",
    "blobness at 0.8 px (real)",
]
HEADER += ["coherence in nuclei (real)"]


def values_of(folder: Path, name: str) -> tuple[list[float], list[float]]:
    """Return the figures of a class, and the real pictures' blobness and coherence."""
    figures = read_results(folder / f"score-{name}", ScoreResults).figures
    (probe,) = read_results(folder / f"probe-{name}", ProbeResults).classes.values()
    texture = read_results(folder / f"morphology-{name}", Morphology).texture
    measured = [texture["blobness_0.8"], texture["nucleus_coherence"]]
    floors = [
        figures[f"FD-{encoder}"].fake.value / figures[f"FD-{encoder}"].floor.value for encoder in ("imagenet", "cyto")
    ]
    shares = [figures[f"{kind}-imagenet"].fake.value for kind in ("precision", "recall")]
    accuracy = probe.accuracies["imagenet"].synthetic.value
    return (
        [*floors, *shares, accuracy, *(float(np.mean(one.synthetic)) for one in measured)],
        [float(np.mean(one.real)) for one in measured],
    )


def row(before: Path, after: Path, name: str) -> list[str]:
    """Return the cells of a class: before, an arrow, after; after alone if BEFORE lacks the class."""
    new, real = values_of(after, name)
    formats = ["{:.1f}", "{:.1f}", "{:.2f}", "{:.2f}", "{:.0%}", "{:.3f}", "{:.2f}"]
    cells = [form.format(value) for form, value in zip(formats, new, strict=True)]
    if (before / f"morphology-{name}").is_dir():
        old, _ = values_of(before, name)
        cells = [f"{form.format(value)} -> {cell}" for form, value, cell in zip(formats, old, cells, strict=True)]
    for place, value in zip((5, 6), real, strict=True):
        cells[place] += f" ({formats[place].format(value)})"
    return [f"`{name}`", *cells]


def main() -> None:
    """Write the table."""
    parser = script_parser("recipes.before_after", __doc__)
    parser.add_argument("before", metavar="BEFORE", type=existing_folder)
    parser.add_argument("after", metavar="AFTER", type=existing_folder)
    asked = parser.parse_args()
    names = sorted(path.name.removeprefix("morphology-") for path in asked.after.glob("morphology-*"))
    print(table(HEADER, [row(asked.before, asked.after, name) for name in names]))


if __name__ == "__main__":
    run_command_line(main)
