"""The command line `engine`: generate, upscale, grid, serve, info, verify, doctor, bench, reference, sheet, merge-runs
and png-info."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.backends.select import choose_backend, probe
from engine.bundle.folder import open_bundle
from engine.bundle.settings import AUTO
from engine.cli.bench import bench, reference
from engine.cli.generate import generate
from engine.cli.grid import grid
from engine.cli.options import BundleArgument, JsonOption, origin_words, settings_words
from engine.cli.serve import serve
from engine.cli.upscale import upscale_command
from engine.command_line import new_command_line
from engine.locks import locked_folder_of
from engine.terminal import progress_bar, run_command_line

__all__ = ["app", "main"]

app = new_command_line(__doc__, completion=True)

app.command()(generate)
app.command("upscale")(upscale_command)
app.command()(grid)
app.command()(serve)
app.command()(bench)
app.command()(reference)


@app.command()
def info(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Show the content of a bundle: base, classes, origin of their pictures, defaults."""
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
            "base": manifest.base,
        }
        for name, entry in manifest.classes.items()
    }
    of_base = None if manifest.base_facts is None else vars(manifest.base_facts)
    defaults, presets = manifest.defaults, {name: preset.as_json() for name, preset in manifest.presets.items()}
    if as_json:
        facts = {"name": manifest.name, "base": manifest.base, "sha256": opened.sha256, "bytes": size_bytes}
        facts |= {} if of_base is None else {"base_facts": of_base}
        size = {"width": width, "height": height}
        print(json.dumps({**facts, **size, "classes": classes, "defaults": defaults.as_json(), "presets": presets}))
        return
    print(f"{manifest.name} ({opened.folder})\n{manifest.base}")
    if of_base is not None:
        print(f"Licence of the base: {of_base['licence']}; {of_base['attribution']}")
    print(f"{width} x {height} pixels, {size_bytes / 1e6:.1f} MB, SHA-256 {opened.sha256}")
    print(f"Defaults: {settings_words(defaults)}, batch {defaults.batch_size}")
    for name, preset in manifest.presets.items():
        print(f"--preset {name}: {settings_words(preset)}")
    numbers: dict[str, int] = {}
    for entry in manifest.classes.values():
        numbers.setdefault(entry.attribution, len(numbers) + 1)
    table = Table("class", "trained on", "licence", "attribution")
    for name, entry in manifest.classes.items():
        trained_on = f"{entry.pictures} {origin_words(entry.origin)}"
        words = (name, trained_on, entry.licence, f"[{numbers[entry.attribution]}]")
        table.add_row(*map(escape, words))
    Console().print(table)
    for attribution, number in numbers.items():
        print(f"[{number}] {attribution}")


@app.command()
def verify(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Check the size and SHA-256 of every file of a bundle."""
    opened = open_bundle(bundle)
    opened.verify(opened.manifest.files)
    count = len(opened.manifest.files)
    if as_json:
        print(json.dumps({"ok": True, "files": count, "sha256": opened.sha256}))
        return
    print(f"All {count} files of {opened.manifest.name} are intact. SHA-256 of the bundle: {opened.sha256}")


@app.command()
def sheet(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `engine generate` wrote.")]) -> None:
    """Draw the contact sheet of a run again."""
    from engine.output.sheet import SHEET, write_sheet

    with locked_folder_of(folder / SHEET):
        print(write_sheet(folder))


@app.command("merge-runs")
def merge_runs(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder given to `engine generate --shard`.")],
    as_json: JsonOption = False,
) -> None:
    """Join the pieces of a run into the run that one process would write.

    Everything is checked first: no picture may be missing or doubled.
    """
    from engine.output.merge_runs import merge_runs as merge

    with progress_bar() as progress:
        found = merge(out, progress)
    if as_json:
        print(json.dumps({**asdict(found), "sheet": found.sheet and str(found.sheet), "out": str(out)}))
        return
    print(f"{found.pieces} pieces joined: {found.total} synthetic pictures in {out}.")
    if found.failed:
        print(f"{found.failed} seeds gave no picture. {out / 'failed.jsonl'} lists them with the reasons.")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Show which runtimes are usable on this machine, why the others are not, and how to install them."""
    found = probe()
    usable = any(status.usable for status in found)
    if as_json:
        auto = choose_backend(AUTO)[0] if usable else None
        print(json.dumps({"backends": [asdict(status) for status in found], "auto": auto}))
        return
    table = Table("backend", "usable", "version, or reason", "how to install it")
    for status in found:
        table.add_row(status.name, "yes" if status.usable else "no", escape(status.detail), escape(status.install))
    Console().print(table)
    print(f"--backend auto takes {choose_backend(AUTO)[1]}." if usable else "No backend is usable.")


@app.command("png-info")
def png_info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Picture that `engine generate` or the WebUI wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Show how a picture of this engine or of AUTOMATIC1111's WebUI was made, and the command that makes it again."""
    from engine.cli.png_info import print_png, read_png

    print_png(file, read_png(file), as_json)


def main() -> None:
    """Run the command line. A wrong request exits 2, a failure exits 1."""
    run_command_line(app)
