"""The command line `engine`: generate, info, verify, sheet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.bundle import open_bundle
from engine.errors import CytosynthError
from engine.request import PRECISIONS, make_request
from engine.samplers import SAMPLERS, SCHEDULES

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
BundleArgument = Annotated[str, typer.Argument(metavar="[BUNDLE]", help="An embedded bundle's name, or a folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


@app.command()
def generate(
    class_name: Annotated[list[str], typer.Option("--class", help="A class of the bundle, or all; may be repeated.")],
    n: Annotated[int, typer.Option("--n", help="Pictures of each class.")],
    out: Annotated[Path, typer.Option(help="The output folder.")] = Path("out"),
    seed: Annotated[int, typer.Option(help="Picture i has seed + i; -1 draws one.")] = 0,
    bundle: Annotated[str, typer.Option(help="An embedded bundle's name, or a folder.")] = "cells",
    steps: Annotated[int | None, typer.Option(help="Sampling steps; by default the bundle's.")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"One of {', '.join(SAMPLERS)}.")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"One of {', '.join(SCHEDULES)}.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="1 is no guidance; by default the bundle's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures at a time; by default the bundle's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 lets the runtime choose.")] = 0,
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}; f32 is exact.")] = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace another run in the output folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make n pictures of each class. The same command again continues a run that was cut off."""
    opened = open_bundle(bundle)
    request = make_request(
        opened.manifest,
        class_names=class_name,
        n=n,
        seed=seed,
        sampler=sampler,
        schedule=schedule,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        batch_size=batch_size,
        precision=precision,
        threads=threads,
    )
    # The runtime is imported here, so that a wrong request costs nothing and needs none.
    from engine import run

    with _ProgressBar() as progress:
        result = run.generate(opened, request, out, overwrite=overwrite, progress=progress)
    origins = {name: opened.manifest.classes[name].origin for name in request.class_names}
    if as_json:
        facts = {"made": result.made, "total": result.total, "seconds": round(result.seconds, 3), "seed": request.seed}
        print(json.dumps({**facts, "out": str(out), "sheet": str(result.sheet), "trained_on": origins}))
        return
    rate = f", {result.made / result.seconds:.1f} a second" if result.made else ""
    print(f"{result.total} synthetic pictures, {result.made} of them new, in {result.seconds:.1f} s{rate}.")
    for name, origin in origins.items():
        print(f"{name}: trained on {opened.manifest.classes[name].pictures} {_origin_words(origin)}.")
    print(f"Folder:        {out}\nContact sheet: {result.sheet}")


@app.command()
def info(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Say what a bundle holds: base, classes, where their pictures came from, defaults."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    width, height = manifest.picture_size
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    classes = {
        name: {
            "trained_on": entry.origin,
            "pictures": entry.pictures,
            "licence": entry.licence,
            "attribution": entry.attribution,
        }
        for name, entry in manifest.classes.items()
    }
    defaults = manifest.defaults
    if as_json:
        facts = {"name": manifest.name, "base": manifest.base, "sha256": opened.sha256, "bytes": size_bytes}
        print(json.dumps({**facts, "width": width, "height": height, "classes": classes, "defaults": vars(defaults)}))
        return
    print(f"{manifest.name} ({opened.folder})\n{manifest.base}")
    print(f"{width} x {height} pixels, {size_bytes / 1e6:.1f} MB, SHA-256 {opened.sha256}")
    print(
        f"Defaults: {defaults.sampler}, {defaults.schedule}, {defaults.num_inference_steps} steps, "
        f"guidance {defaults.guidance_scale:g}, batch {defaults.batch_size}"
    )
    table = Table("class", "trained on", "licence", "attribution")
    for name, entry in manifest.classes.items():
        table.add_row(name, f"{entry.pictures} {_origin_words(entry.origin)}", entry.licence, entry.attribution)
    Console().print(table)


@app.command()
def verify(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Check the size and SHA-256 of every file of a bundle."""
    opened = open_bundle(bundle)
    opened.verify(opened.manifest.files)
    count = len(opened.manifest.files)
    if as_json:
        print(json.dumps({"ok": True, "files": count, "sha256": opened.sha256}))
        return
    print(f"{count} files of {opened.manifest.name} are whole. SHA-256 of the bundle: {opened.sha256}")


@app.command()
def sheet(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that generate wrote.")]) -> None:
    """Draw the contact sheet of a run again."""
    from engine.sheet import write_sheet

    print(write_sheet(folder))


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: the same command continues the run", file=sys.stderr)
        sys.exit(1)


def _origin_words(origin: str) -> str:
    return "phantom pictures (procedural, no patient data)" if origin == "phantom" else origin


class _ProgressBar:
    """A bar on stderr, and only on a terminal."""

    def __enter__(self) -> Callable[[int, int, str], None]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._bar.start()
        task = self._bar.add_task("")

        def update(done: int, total: int, class_name: str) -> None:
            self._bar.update(task, completed=done, total=total, description=class_name)

        return update

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
