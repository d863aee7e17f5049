"""A Markdown page that is made from records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.pages import plots
from benchmarks.pages.published import SHIPPED_MANIFEST, link
from engine.files import sha256_of

__all__ = ["Page", "Record", "bundle_words", "machine_words"]

Record = dict[str, Any]


class Page:
    """The parts of a Markdown page, and a list of what was not measured.

    makes: for each record, the command that makes it. Plots go into the folder `plots` beside the records.
    """

    def __init__(self, records: Path, page: Path, makes: dict[str, str]) -> None:
        self.records, self.page = records, page
        self.parts: list[str] = []
        self._makes = makes
        self.missing: dict[tuple[str, str], list[str]] = {}
        """Maps (what was not measured, why) to the places in the comparison."""

    def read(self, name: str) -> Record | None:
        """Return a record. If its file is missing, note that and return None."""
        path = self.records / name
        if path.exists():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        self.lacks(f"`{name}`", f"no record; `{self._makes[name]}` makes it")
        return None

    def lacks(self, what: str, why: str, where: str = "") -> None:
        """Note what was not measured, why, and in which comparison."""
        self.missing.setdefault((what, why.replace("|", "/")), []).append(where)

    def write(self, *paragraphs: str) -> None:
        """Append paragraphs."""
        self.parts += [*paragraphs, ""]

    def table(self, header: list[str], rows: list[list[str]]) -> None:
        """Append a table."""
        lines = [header, ["---"] * len(header), *([" ".join(cell.split()) for cell in row] for row in rows)]
        self.write("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def plot(self, name: str, caption: str, figure: Figure) -> None:
        """Save a plot and append a link to it."""
        folder = self.records / "plots"
        folder.mkdir(exist_ok=True)
        plots.save(figure, folder / f"{name}.svg")
        self.write(f"![{caption}]({link(folder / f'{name}.svg', self.page)})")

    def finish(self) -> None:
        """Write the file."""
        text = "\n".join(self.parts).replace("\n\n\n", "\n\n").rstrip("\n")
        self.page.write_text(text + "\n", encoding="utf-8")


def bundle_words(sha256: str) -> str:
    """Return the beginning of a bundle's SHA-256, and whether it is the embedded bundle of this checkout."""
    shipped = sha256 == sha256_of(SHIPPED_MANIFEST)
    return f"SHA-256 {sha256[:12]}, {'the shipped bundle' if shipped else 'not the shipped bundle'}"


def machine_words(record: Record) -> str:
    """Return processor, cores and threads as words."""
    machine = record["machine"]
    words = f"{machine['processor']}, {machine['cores']} cores"
    return words + (f", {machine['threads']} threads per system" if "threads" in machine else "")
