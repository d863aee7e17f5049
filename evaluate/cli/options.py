"""What the commands share: options, the bar of a long run, and the end of a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from evaluate.report.records import Picture, write_record
from evaluate.report.tables import summarise

__all__ = ["AsJson", "RecordOut", "Seed", "finish", "progress_bar"]

Seed = Annotated[int, typer.Option(min=0, help="Seed of all randomness.")]
RecordOut = Annotated[
    Path | None, typer.Option("--out", help="A folder for the record and its pictures, which `report` takes.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as one JSON object to stdout.")]


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """(task, done, total) on stderr, and only to a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)

        yield update


def finish(
    record: dict[str, Any],
    pictures: dict[str, Picture],
    out: Path | None,
    as_json: bool,
    lists: dict[str, str] | None = None,
) -> None:
    """Write the record where --out says, print it as JSON or for people, and its warnings to stderr."""
    if out is not None:
        write_record(out, record, pictures, lists or {})
    if as_json:
        print(json.dumps(record))
    else:
        _show(Console(highlight=False, markup=False), json.loads(json.dumps(record)), out)
    for words in record["warnings"]:
        print(f"warning: {words}", file=sys.stderr)


def _show(console: Console, record: dict[str, Any], out: Path | None) -> None:
    """Definitions first: the verdict stands last, where it is read."""
    summary = summarise(record)
    for name, words in record["definitions"].items():
        console.print(f"{name}: {words}.")
    for name, folder in record["inputs"].items():
        console.print(f"{name}: {folder['pictures']} pictures in {folder['folder']}")
    for found in summary.tables:
        table = Table(*found.header, title=found.title, box=SIMPLE, show_lines=True, padding=(0, 1, 0, 0))
        for row in found.rows:
            table.add_row(*row)
        console.print(table)
    for words in summary.sentences:
        console.print(words)
    if out is not None:
        console.print(f"Record: {out}")
