"""The command `report`: records into one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import RequestError
from engine.files import expect_folder_of, write_text

__all__ = ["report_command"]

GENERATOR = b'<meta name="generator" content="cytosynth">'


def report_command(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD...", help="Folders that --out of a command named.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")],
    title: Annotated[str, typer.Option(help="Its headline.")] = "Synthetic cells: how good they are",
    note: Annotated[str, typer.Option(help="A sentence under it, such as where the pictures come from.")] = "",
    real_pictures: Annotated[
        bool, typer.Option(help="--no-real-pictures leaves out what shows real ones, for a report that is passed on.")
    ] = True,
) -> None:
    """One self-contained HTML file: tables, sheets, plots, definitions, commands and hashes of the records."""
    from evaluate.report.html import render_report

    if out.suffix.lower() not in (".html", ".htm"):
        raise RequestError("--out", found=str(out), expected="a file name that ends in .html", fix="change it")
    expect_folder_of(out)
    if out.exists() and GENERATOR not in out.read_bytes()[:1000]:
        raise RequestError(
            f"The file {out}", found="a page that is no report", expected="a new file", fix="name another"
        )
    write_text(out, render_report(records, title, note, real_pictures=real_pictures))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB.")
