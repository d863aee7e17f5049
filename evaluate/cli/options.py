"""Options that several commands share, and the last step of every command: write and print its record."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from engine.errors import RequestError
from engine.files import expect_folder_of
from engine.locks import locked_folder, locked_folder_of
from engine.options import setting
from engine.terminal import warn
from evaluate.encoders.features import CHOICES
from evaluate.report.records import Picture, Record, write_record
from evaluate.report.tables import summarise

__all__ = [
    "EncoderChoice",
    "Fake",
    "FakeClasses",
    "Output",
    "Real",
    "RealClasses",
    "check_page",
    "finish",
    "locked",
]

Real = Annotated[
    Path, typer.Argument(metavar="REAL", help="Real pictures of one class, cropped as the training pictures are.")
]
Fake = Annotated[Path, typer.Argument(metavar="FAKE", help="Synthetic pictures of one class.")]
RealClasses = Annotated[
    Path, typer.Argument(metavar="REAL", help="Real pictures of one class, or a folder with one folder per class.")
]
FakeClasses = Annotated[
    Path, typer.Argument(metavar="FAKE", help="Synthetic pictures of one class, or a folder with one folder per class.")
]
PAGES = (".htm", ".html")
"""File name endings of pages."""
GENERATOR = b'<meta name="generator" content="cytosynth">'


@dataclass(frozen=True)
class EncoderChoice:
    """Which encoders give the features."""

    PANEL: ClassVar[str] = "Figures"

    features: str = setting(
        "auto",
        choices=CHOICES,
        help="Encoders (auto uses cyto, imagenet if its packages are installed, and inception if its weights are on"
        " this computer)",
    )


@dataclass(frozen=True)
class Output:
    """Where a command's record goes."""

    PANEL: ClassVar[str] = "Output"

    out: Path | None = setting(None, help="Folder for the record and its pictures. The command `report` reads it.")
    as_json: bool = setting(False, flag="--json", help="Print the record as one JSON object to stdout.")
    explain: bool = setting(
        False, flag="--explain", help="Also print what each figure means, what was not measured, and the folders."
    )


def locked(place: Callable[[Mapping[str, Any]], Path | None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator of a command that lets one process at a time write to its output.

    place: Returns the folder or the page from the values of the command's parameters, or None if nothing is written.
    The lock holds from the start, so that a second process is refused before it computes anything.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            path = place(values)
            page = path is not None and path.suffix.lower() in PAGES
            with nullcontext() if path is None else locked_folder_of(path) if page else locked_folder(path):
                command(**values)

        return run

    return decorate


def finish(
    record: Record, pictures: Mapping[str, Picture], output: Output, lists: Mapping[str, str] | None = None
) -> None:
    """Write the record to --out, print it as JSON or as tables, and print its warnings to stderr."""
    if output.out is not None:
        write_record(output.out, record, pictures, lists or {})
    if output.as_json:
        print(json.dumps(record.as_json()))
    else:
        _show(Console(highlight=False, markup=False), record, output)
    for words in record.warnings:
        warn(words)


def check_page(out: Path) -> None:
    """Raise RequestError unless an HTML page can be written to `out`: a new file, or an older page of this project."""
    if out.suffix.lower() not in PAGES:
        raise RequestError("--out", found=str(out), expected="a file name that ends in .html", fix="change the name")
    expect_folder_of(out)
    if out.exists() and GENERATOR not in out.read_bytes()[:1000]:
        raise RequestError(
            f"The file {out}",
            found="a file that this command did not write",
            expected="a new file, or an older page of `python -m evaluate`",
            fix="name another file",
        )


def _show(console: Console, record: Record, output: Output) -> None:
    """Print the verdict first, then the tables and the other sentences."""
    summary = summarise(record)
    console.print(summary.verdict)
    for found in summary.tables:
        columns = (Column(words, overflow="fold") for words in found.header)
        table = Table(*columns, title=found.title, box=SIMPLE, show_lines=True, padding=(0, 1, 0, 0))
        for row in found.rows:
            table.add_row(*row)
        console.print(table)
    for words in summary.sentences:
        console.print(words)
    if output.explain:
        for words in summary.missing:
            console.print(words)
        for name, words in record.definitions.items():
            console.print(f"{name}: {words}.")
        for name, folder in record.inputs.items():
            console.print(f"{name}: {folder.pictures} pictures in {folder.folder}")
    else:
        left_out = f", and {len(summary.missing)} things that were not measured" if summary.missing else ""
        console.print(f"--explain adds what each figure means{left_out}.")
    if output.out is not None:
        console.print(f"Record: {output.out}")
