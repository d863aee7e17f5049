"""The command line `engine`: generate, info, verify, doctor, bench, reference, sheet, merge-runs, png-info."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.backends.select import AUTO, choose_backend, probe
from engine.bundle.folder import open_bundle
from engine.cli.bench import bench, reference
from engine.cli.generate import generate
from engine.cli.options import BundleArgument, JsonOption, origin_words, settings_words
from engine.errors import CytosynthError
from engine.terminal import ProgressBar, printable

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

app.command()(generate)
app.command()(bench)
app.command()(reference)


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
            "base": manifest.base,
        }
        for name, entry in manifest.classes.items()
    }
    defaults, presets = manifest.defaults, {name: vars(preset) for name, preset in manifest.presets.items()}
    if as_json:
        facts = {"name": manifest.name, "base": manifest.base, "sha256": opened.sha256, "bytes": size_bytes}
        size = {"width": width, "height": height}
        print(json.dumps({**facts, **size, "classes": classes, "defaults": vars(defaults), "presets": presets}))
        return
    print(f"{manifest.name} ({opened.folder})\n{manifest.base}")
    print(f"{width} x {height} pixels, {size_bytes / 1e6:.1f} MB, SHA-256 {opened.sha256}")
    print(f"Defaults: {settings_words(defaults)}, batch {defaults.batch_size}")
    for name, preset in manifest.presets.items():
        print(f"--preset {name}: {settings_words(preset)}")
    table = Table("class", "trained on", "licence", "attribution")
    for name, entry in manifest.classes.items():
        words = (name, f"{entry.pictures} {origin_words(entry.origin)}", entry.licence, entry.attribution)
        table.add_row(*map(escape, words))
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
    from engine.output.sheet import write_sheet

    print(write_sheet(folder))


@app.command("merge-runs")
def merge_runs(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The --out of generate --shard.")],
    as_json: JsonOption = False,
) -> None:
    """Join the pieces of a run, after a check that nothing is missing or doubled, into what one process would write."""
    from engine.output.merge_runs import merge_runs as merge

    with ProgressBar() as progress:
        found = merge(out, lambda done, total: progress(done, total, "joining"))
    if as_json:
        print(json.dumps({**asdict(found), "sheet": found.sheet and str(found.sheet), "out": str(out)}))
        return
    print(f"{found.pieces} pieces joined: {found.total} synthetic pictures in {out}.")
    if found.failed:
        print(f"{found.failed} seeds gave no picture: see {out / 'failed.jsonl'}.")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say which runtimes are usable here, why the others are not, and how to install them."""
    found = probe()
    usable = any(status.usable for status in found)
    if as_json:
        auto = choose_backend(AUTO)[0] if usable else None
        print(json.dumps({"backends": [asdict(status) for status in found], "auto": auto}))
        return
    table = Table("backend", "usable", "what, or why not", "how to install it")
    for status in found:
        table.add_row(status.name, "yes" if status.usable else "no", escape(status.detail), escape(status.install))
    Console().print(table)
    print(f"--backend auto takes {choose_backend(AUTO)[1]}." if usable else "No backend is usable.")


@app.command("png-info")
def png_info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that generate wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Say how a picture was made, and the command that makes it again."""
    from engine.cli.png_info import read_png

    found = read_png(file)
    if as_json:
        facts = {"parameters": found.parameters, "cytosynth": found.description, "command": found.command}
        print(json.dumps(facts))
        return
    print(printable(found.parameters), end="\n\n")
    for name, value in found.description.items():
        print(printable(f"{name}: {value}"))
    bundle_hash = found.description.get("bundle_sha256", "unknown")
    print(printable(f"\nThis command makes it again, --bundle naming the one of SHA-256 {bundle_hash}:"))
    print(printable(found.command))


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
