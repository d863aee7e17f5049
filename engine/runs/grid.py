"""Grids: one picture for each combination of the values of up to three axes, as runs beside each other, and a sheet."""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from engine.backends.kept import KeptBackend
from engine.backends.select import open_backend, settle
from engine.bundle.axes import Axis, AxisValue, settings_at
from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import RequestSettings
from engine.errors import RequestError
from engine.files import write_json
from engine.locks import locked_folder
from engine.output.formats import Output
from engine.output.grid_sheet import Table, draw_grid
from engine.output.journal import previous_identity
from engine.pipeline.pipeline import check_opening
from engine.progress import Progress, silent
from engine.runs.generate import generate

__all__ = ["GRID", "SHEET", "Cell", "GridPlan", "GridResult", "plan_grid", "run_grid"]

GRID, SHEET, CELLS = "grid.json", "grid.png", "cells"
LARGEST = 200_000_000
"""Largest number of pixels of all pictures together, as in the WebUI."""
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Cell:
    """One place of the grid."""

    places: tuple[int, int, int]
    """The number of the value on the axes x, y and z, counted from 0."""
    job: Job
    folder: Path

    @property
    def picture(self) -> Path:
        """The file of the picture."""
        return self.folder / self.job.request.class_names[0] / "000000.png"


@dataclass(frozen=True)
class GridPlan:
    """A checked grid: the cells in the order in which they are made, and the axes."""

    folder: Path
    axes: Mapping[str, Axis]
    seed: int
    cells: tuple[Cell, ...]
    bundle_sha256: str

    def labels(self, axis: str) -> list[str]:
        """Return the labels of an axis, or one empty label for an axis that is not used."""
        found = self.axes.get(axis)
        return [f"{found.name} {value.label}" for value in found.values] if found else [""]

    def identity(self) -> dict[str, Any]:
        """Return what must be equal to continue a grid. Each cell checks its own request."""
        stated = {name: [axis.name, *(value.label for value in axis.values)] for name, axis in self.axes.items()}
        return {"axes": stated, "bundle_sha256": self.bundle_sha256}


@dataclass(frozen=True)
class GridResult:
    """What became of a grid."""

    made: int
    """Number of pictures of this call."""
    total: int
    failed: int
    stopped: bool
    sheet: Path | None


def plan_grid(
    bundle: Bundle, class_names: Sequence[str], settings: RequestSettings, axes: Mapping[str, Axis], folder: Path
) -> tuple[GridPlan, str]:
    """Return the checked grid, and which backend computes it and why.

    Axes whose change opens other graphs are outermost in the order of the cells. A seed of -1 is drawn once for the
    whole grid. Raises RequestError that names the values of the axes at which a request is wrong.
    """
    previous = _previous(folder)
    seed, before = settings.sampling.seed, previous.get("seed")
    if seed == -1:
        seed = before if isinstance(before, int) else secrets.randbelow(2**32)
    settings = replace(settings, sampling=replace(settings.sampling, seed=seed))
    if settings.hardware.batch_size is None:
        # A cell is one picture, which a batch of more would pad.
        settings = replace(settings, hardware=replace(settings.hardware, batch_size=1))
    on_class = any(value.class_name for axis in axes.values() for value in axis.values)
    if on_class == bool(class_names) or len(class_names) > 1:
        raise RequestError(
            "--class",
            found=f"{len(class_names)} classes{' and an axis of classes' if on_class else ''}",
            expected="one class, or an axis of classes",
            fix='give --class once, or --z "class=a,b"',
        )
    cells, why = [], ""
    for chosen in _combinations(axes):
        places = tuple(chosen[name][0] if name in chosen else 0 for name in AXES)
        values = [value for _, value in chosen.values()]
        try:
            name = next((value.class_name for value in values if value.class_name), None) or class_names[0]
            cell = folder / CELLS / "-".join(f"{axis}{place}" for axis, place in zip(AXES, places, strict=True))
            job, why = _job(bundle, name, settings, values, cell)
        except RequestError as error:
            words = ", ".join(axes[axis].words(chosen[axis][1]) for axis in AXES if axis in chosen)
            subject = f"{words}: {error.subject}"
            raise RequestError(subject, found=error.found, expected=error.expected, fix=error.fix) from error
        cells.append(Cell((places[0], places[1], places[2]), job, cell))
    plan = GridPlan(folder, axes, seed, tuple(cells), bundle.sha256)
    _expect_size(plan)
    if previous and any(previous.get(key) != value for key, value in plan.identity().items()):
        raise RequestError(
            f"The output folder {folder}",
            found="another grid, of other axes or another bundle",
            expected="a new folder, or the grid to continue",
            fix="name another folder with --out",
        )
    return plan, why


def _previous(folder: Path) -> dict[str, Any]:
    """Return what grid.json states, or nothing for a new folder. Raises RequestError for a folder of something else."""
    if not folder.exists() or not any(folder.iterdir()):
        return {}
    try:
        found = json.loads((folder / GRID).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RequestError(
            f"The output folder {folder}",
            found=f"files, and no {GRID} that can be read",
            expected="a new folder, or one that `engine grid` wrote",
            fix="name another folder with --out",
        )
    return found


def _combinations(axes: Mapping[str, Axis]) -> list[dict[str, tuple[int, AxisValue]]]:
    """Return the number and the value on each axis for every cell, with the slow axes outermost."""
    order = sorted(axes, key=lambda name: (-axes[name].slowness, -AXES.index(name)))
    pairs = [list(enumerate(axes[name].values)) for name in order]
    return [dict(zip(order, chosen, strict=True)) for chosen in product(*pairs)]


def _job(
    bundle: Bundle, class_name: str, settings: RequestSettings, values: Sequence[AxisValue], folder: Path
) -> tuple[Job, str]:
    entry = bundle.manifest.classes.get(class_name)
    at = settings_at(settings, values, entry.prompt if entry else "")
    job, why = settle(make_job(bundle, [class_name], 1, at, previous_identity(folder)), at.hardware)
    if job.request.prompt is not None or job.request.negative_prompt is not None or job.request.clip_skip != 1:
        check_opening(job, open_backend(job))
    return job, why


def _expect_size(plan: GridPlan) -> None:
    pixels = sum(math.prod(cell.job.request.final_size) for cell in plan.cells)
    if pixels > LARGEST:
        raise RequestError(
            "The grid",
            found=f"{len(plan.cells)} pictures, {pixels / 1e6:.0f} megapixels",
            expected=f"at most {LARGEST / 1e6:.0f} megapixels",
            fix="give fewer values, or a smaller --width and --height",
        )


def run_grid(
    plan: GridPlan, *, margin: int = 0, stop: threading.Event | None = None, progress: Progress = silent
) -> GridResult:
    """Make the pictures that are missing, then the sheet.

    Each cell is a run of one picture, with its usual metadata. Cells that are there stay as they are.
    """
    stop = stop or threading.Event()
    made = failed = 0
    backend: KeptBackend | None = None
    opened: tuple[object, ...] = ()
    with locked_folder(plan.folder):
        _write_record(plan, complete=False)
        try:
            for done, cell in enumerate(plan.cells):
                if stop.is_set():
                    break
                request = cell.job.request
                wanted = request.backend, request.precision, request.threads
                if backend is None or wanted != opened:
                    if backend is not None:
                        backend.close()
                    backend, opened = KeptBackend(open_backend(cell.job)), wanted
                result = generate(cell.job, Output(cell.folder), backend=backend, stop=stop)
                made, failed = made + result.made, failed + result.failed
                progress("cells", done + 1, len(plan.cells))
        finally:
            if backend is not None:
                backend.close()
        there = sum(cell.picture.is_file() for cell in plan.cells)
        stopped = there + failed < len(plan.cells)
        sheet = None if stopped else plan.folder / SHEET
        if sheet is not None:
            _draw(plan, sheet, margin)
        _write_record(plan, complete=not stopped)
    return GridResult(made, there, failed, stopped, sheet)


def _draw(plan: GridPlan, path: Path, margin: int) -> None:
    files = {cell.places: cell.picture for cell in plan.cells if cell.picture.is_file()}
    columns, rows, titles = (plan.labels(name) for name in AXES)
    tables = [
        Table(title, [[files.get((x, y, z)) for x in range(len(columns))] for y in range(len(rows))])
        for z, title in enumerate(titles)
    ]
    draw_grid(path, tables, columns, rows, margin)


def _write_record(plan: GridPlan, *, complete: bool) -> None:
    """Write grid.json: the axes, and the file of each cell."""
    cells = [
        {
            **{name: axis.values[cell.places[AXES.index(name)]].label for name, axis in plan.axes.items()},
            "file": cell.picture.relative_to(plan.folder).as_posix(),
        }
        for cell in sorted(plan.cells, key=lambda cell: cell.places[::-1])
    ]
    write_json(plan.folder / GRID, {**plan.identity(), "seed": plan.seed, "complete": complete, "cells": cells})
