"""The commands about folders that `engine generate` wrote: `engine sheet` and `engine merge-runs`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.options import JsonOption
from engine.locks import locked_folder_of
from engine.output.merge_runs import merge_runs as merge
from engine.output.sheet import SHEET, write_sheet
from engine.terminal import progress_bar

__all__ = ["merge_runs", "sheet"]


def sheet(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `engine generate` wrote.")]) -> None:
    """Draw the contact sheet of a run again."""
    with locked_folder_of(folder / SHEET):
        print(write_sheet(folder))


def merge_runs(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder given to `engine generate --shard`.")],
    as_json: JsonOption = False,
) -> None:
    """Join the pieces of a run into the run that one process would write.

    Everything is checked first: no picture may be missing or doubled.
    """
    with progress_bar() as progress:
        found = merge(out, progress)
    if as_json:
        print(json.dumps({**asdict(found), "sheet": found.sheet and str(found.sheet), "out": str(out)}))
        return
    print(f"{found.pieces} pieces joined: {found.total} synthetic pictures in {out}.")
    if found.failed:
        print(f"{found.failed} seeds gave no picture. {out / 'failed.jsonl'} lists them with the reasons.")
