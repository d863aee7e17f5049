"""The command `report`: one HTML file of several records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from engine.files import write_text
from engine.options import setting, with_options
from evaluate.cli.options import check_page, locked

__all__ = ["report_command"]


@dataclass(frozen=True)
class Page:
    """What the HTML file is called and contains."""

    PANEL: ClassVar[str] = "Output"

    out: Path = setting(help="HTML file to write.")
    title: str = setting("Synthetic cells: how good they are", help="Headline of the report.")
    note: str = setting("", help="Sentence under the headline, such as the source of the pictures.")
    real_pictures: bool = setting(
        True, help="Show real pictures. --no-real-pictures leaves them out, so that the report can be passed on."
    )


@with_options
@locked(lambda values: values["page"].out)
def report_command(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD...", help="Record folders written with --out.")],
    page: Page,
) -> None:
    """Write one self-contained HTML file: tables, sheets, plots, definitions, commands and hashes of the records."""
    from evaluate.report.html import render_report

    out = page.out
    check_page(out)
    write_text(out, render_report(records, page.title, page.note, real_pictures=page.real_pictures))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB.")
