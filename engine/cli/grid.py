"""The command `engine grid`: a labelled sheet of pictures whose settings change along up to three axes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.bundle.axes import Axis, parse_axis
from engine.bundle.folder import open_bundle
from engine.bundle.settings import RequestSettings
from engine.errors import RequestError
from engine.options import Range, parse_each, setting, with_options
from engine.terminal import progress_bar, stopped_by_signals, warn

__all__ = ["GridSettings", "grid"]

AXIS = "setting=values"


@dataclass(frozen=True)
class GridSettings:
    """The axes of the grid, the bundle, and the place of the pictures."""

    PANEL: ClassVar[str] = "Grid"

    x: str | None = setting(
        None,
        metavar=AXIS,
        help='Setting that changes from column to column, such as "steps=8,12,20" or "seed=1-9(+2)". '
        "Any option of `engine generate` without its dashes, class, size, or prompt_replace.",
    )
    y: str | None = setting(None, metavar=AXIS, help="Setting that changes from row to row.")
    z: str | None = setting(None, metavar=AXIS, help="Setting that changes from table to table.")
    class_name: list[str] | None = setting(None, flag="--class", help="Class of the bundle, unless an axis names it.")
    bundle: str = setting("cells", help="Name of an embedded bundle, or path of a bundle's folder.")
    out: str = setting("grid", metavar="DIR", help="Output folder.")
    margin: int = setting(0, within=Range(0, 500), help="Pixels between the pictures of the sheet.")
    as_json: bool = setting(False, flag="--json", help="Print one JSON object to stdout.")


@with_options
def grid(axes: GridSettings, settings: RequestSettings) -> None:
    """Make a sheet of pictures whose settings change along one to three axes.

    Run the same command again to continue an interrupted grid.
    """
    from engine.runs.grid import plan_grid, run_grid

    bundle = open_bundle(axes.bundle)
    plan, why = plan_grid(bundle, parse_each(axes.class_name), settings, read_axes(axes), Path(axes.out))
    for words in dict.fromkeys(words for cell in plan.cells for words in cell.job.warnings):
        warn(f"{words}.")
    print(f"Backend: {why}.", file=sys.stderr)
    with progress_bar(bar_per_task=False) as progress, stopped_by_signals() as stop:
        result = run_grid(plan, margin=axes.margin, stop=stop, progress=progress)
    if axes.as_json:
        counts = {"made": result.made, "total": result.total, "failed": result.failed, "complete": not result.stopped}
        print(json.dumps({**counts, "seed": plan.seed, "out": axes.out, "sheet": result.sheet and str(result.sheet)}))
    else:
        print(f"{result.total} synthetic pictures, {result.made} of them new, in {axes.out}.")
        if result.failed:
            print(f"{result.failed} cells gave no picture and stay empty.")
        if result.stopped:
            print("Stopped before the end. Run the same command again to continue.")
        else:
            print(f"Sheet: {result.sheet}")
    if result.failed or result.stopped:
        sys.exit(1)


def read_axes(settings: GridSettings) -> dict[str, Axis]:
    """Return the axes by x, y and z. Raises RequestError if there is none, or if two change the same thing."""
    stated = {"x": settings.x, "y": settings.y, "z": settings.z}
    axes = {name: parse_axis(f"--{name}", text) for name, text in stated.items() if text is not None}
    if not axes:
        raise RequestError(
            "grid", found="no axis", expected="--x, --y or --z with a setting", fix='add --x "steps=8,12"'
        )
    changed: dict[str, Axis] = {}
    for axis in axes.values():
        first = axis.values[0]
        # Several axes may each replace another part of a prompt.
        for field in (*first.fields, *(["class"] if first.class_name else [])):
            if field in changed:
                raise RequestError(
                    f"{axis.flag} {axis.name}",
                    found=f"{changed[field].flag} {changed[field].name}, which changes the same",
                    expected="axes of different settings",
                    fix="leave one of them out",
                )
            changed[field] = axis
    return axes
