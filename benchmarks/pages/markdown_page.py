"""A page of Markdown that is made of records."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.pages import plots

Record = dict[str, Any]


class Page:
    """Markdown between a head and a tail, the plots that it shows, and what was not measured.

    makes: the command of each record.
    """

    def __init__(self, records: Path, page: Path, *, head: str, tail: str, makes: dict[str, str]) -> None:
        self.records, self.page = records, page
        self.parts, self._tail, self._makes = [head], tail, makes
        self.missing: dict[tuple[str, str], list[str]] = {}
        """Where, by what and why."""

    def read(self, name: str) -> Record | None:
        """A record, or None, which is noted."""
        path = self.records / name
        if path.exists():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        self.lacks(f"`{name}`", f"no record; `{self._makes[name]}` makes it")
        return None

    def lacks(self, what: str, why: str, where: str = "") -> None:
        """Note what was not measured."""
        self.missing.setdefault((what, why.replace("|", "/")), []).append(where)

    def write(self, *lines: str) -> None:
        """Paragraphs."""
        self.parts += [*lines, ""]

    def table(self, header: list[str], rows: list[list[str]]) -> None:
        """A table."""
        lines = [header, ["---"] * len(header), *([" ".join(cell.split()) for cell in row] for row in rows)]
        self.write("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def plot(self, name: str, caption: str, figure: Figure) -> None:
        """A plot, into the folder plots beside the records."""
        folder = self.records / "plots"
        folder.mkdir(exist_ok=True)
        plots.save(figure, folder / f"{name}.svg")
        link = os.path.relpath(folder / f"{name}.svg", self.page.parent)
        self.write(f"![{caption}]({Path(link).as_posix()})")

    def finish(self) -> None:
        """Write the file."""
        self.page.write_text(
            "\n".join([*self.parts, self._tail.strip("\n")]).replace("\n\n\n", "\n\n") + "\n", encoding="utf-8"
        )


def machine_words(record: Record) -> str:
    """Processor, cores, threads."""
    machine = record["machine"]
    words = f"{machine['processor']}, {machine['cores']} cores"
    return words + (f", {machine['threads']} threads a system" if "threads" in machine else "")
