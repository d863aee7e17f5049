"""The command line `python -m evaluate`: score."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.errors import CytosynthError, RequestError
from evaluate.features import check_encoder, extract_features
from evaluate.images import blur, read_folder
from evaluate.score import CONTROLS, FEW, Figure, Score, sample_size, score

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

DEFINITIONS = {
    "FD-cyto": "squared mean difference plus tr(S1 + S2 - 2 sqrt(S1 S2)) of the cyto encoder's features; not FID",
    "KD-cyto": "unbiased MMD^2 with the kernel (x . y / D + 1)^3 of the cyto encoder's features; not KID",
    "floor": "real against other real pictures at the same N",
    "blurred reals": "real pictures under a Gaussian blur of 1/64 of the side",
    "ten repeated reals": "ten real pictures, repeated to N",
    "another class": "real pictures of --other",
    "interval": "5th to 95th percentile over random splits of the pictures",
    "clear": "FD-cyto: at least 3 times the floor; KD-cyto: above the floor's interval",
}


@app.callback()
def evaluate() -> None:
    """Honest figures for folders of pictures."""


@app.command("score")
def score_command(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="Real pictures of one class, framed as for training.")],
    fake: Annotated[Path, typer.Argument(metavar="FAKE", help="Synthetic pictures of that class.")],
    other: Annotated[Path | None, typer.Option(help="Real pictures of another class, for the third control.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Pictures a sample; by default as many as there are.")] = None,
    splits: Annotated[int, typer.Option(help="Random splits of the real pictures.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")] = False,
) -> None:
    """FD-cyto and KD-cyto of FAKE against REAL, beside the real-against-real floor and three controls."""
    if splits < 2 or seed < 0:
        raise RequestError(
            "The splits", found=f"{splits}, seed {seed}", expected="at least 2, seed >= 0", mend="change them"
        )
    encoder = check_encoder()
    reals, fakes = (read_folder(folder, encoder.size) for folder in (real, fake))
    others = None if other is None else read_folder(other, encoder.size)
    n = sample_size(len(reals), len(fakes), None if others is None else len(others), n)
    real_features, blurred, fake_features = (extract_features(encoder, s) for s in (reals, blur(reals), fakes))
    other_features = None if others is None else extract_features(encoder, others)
    scores = score(real_features, blurred, fake_features, other_features, n=n, splits=splits, seed=seed)
    counts = {"real": len(reals), "fake": len(fakes), "other": 0 if others is None else len(others)}
    if as_json:
        facts = {
            "figures": {name: {**asdict(found), "sensitive": found.sensitive} for name, found in scores.items()},
            "n": n,
            "pictures": counts,
            "splits": splits,
            "seed": seed,
            "folders": {"real": str(real), "fake": str(fake), "other": None if other is None else str(other)},
            "encoder": {"name": "cyto", "sha256": encoder.sha256},
            "definitions": DEFINITIONS,
            "versions": {
                **{name: version(name) for name in ("numpy", "openvino")},
                "python": platform.python_version(),
            },
        }
        print(json.dumps(facts))
    else:
        _print_table(scores, n, counts, splits)
    if n < FEW:
        print(f"warning: N is {n}; below {FEW} these figures say little.", file=sys.stderr)


def _print_table(scores: dict[str, Score], n: int, counts: dict[str, int], splits: int) -> None:
    table = Table("", *(f"{name} [5 %, 95 %]" for name in scores), title=f"N = {n}, {splits} splits")
    rows = {"real against real (floor)": [found.floor for found in scores.values()]}
    rows["synthetic"] = [found.fake for found in scores.values()]
    for label, figures in rows.items():
        table.add_row(label, *map(_shown, figures))
    table.add_section()
    for name in CONTROLS:
        cells = [
            f"{_shown(found.controls[name])} {'clear' if found.clear[name] else 'NOT CLEAR'}"
            if name in found.controls
            else "not measured: give --other DIR"
            for found in scores.values()
        ]
        table.add_row(f"control: {name}", *cells)
    Console().print(table)
    for name, found in scores.items():
        if not found.sensitive:
            missed = ", ".join(control for control, clear in found.clear.items() if not clear)
            print(f"{name} is insensitive for these pictures: it does not tell {missed} from real ones.")
    print(f"Pictures: {counts}.")
    for name, words in DEFINITIONS.items():
        print(f"{name}: {words}.")


def _shown(figure: Figure) -> str:
    return f"{figure.mean:.4g} [{figure.low:.4g}, {figure.high:.4g}]"


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
