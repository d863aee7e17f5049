"""A run's folder: whose it is, how far it came, and what its pictures are.

run.json holds the request; metadata.jsonl one line a picture, in order. A chunk counts as done when its lines are
complete, which happens after its pictures are, so a killed run goes on from the last whole chunk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.formats import write_json, write_text

__all__ = ["Journal"]

RUN, METADATA = "run.json", "metadata.jsonl"


class Journal:
    """The record of one run in `folder`. Opening checks the folder and touches nothing in it."""

    def __init__(self, folder: Path, identity: dict[str, Any], *, overwrite: bool = False) -> None:
        """identity: what must be equal for a run to be continued. Raises RequestError where the folder holds
        another run, or anything that is no run of ours."""
        self.folder, self.identity = folder, identity
        self.resumed = False
        self._replaces = False
        if folder.exists() and not folder.is_dir():
            raise RequestError(
                f"The output folder {folder}", found="a file", expected="a folder", mend="name another with --out"
            )
        if not folder.exists() or not any(folder.iterdir()):
            return
        previous = self._previous_identity()
        if overwrite:
            self._replaces = True
            return
        differs = [
            f"{key} {previous.get(key)!r} there, {identity.get(key)!r} asked"
            for key in sorted({*previous, *identity})
            if previous.get(key) != identity.get(key)
        ]
        if differs:
            raise RequestError(
                f"The output folder {folder}",
                found=f"another run: {'; '.join(differs)}",
                expected="a new folder, or the same request to continue it",
                mend="name another with --out, or replace that run with --overwrite",
            )
        self.resumed = True

    def _previous_identity(self) -> dict[str, Any]:
        path = self.folder / RUN
        try:
            identity = json.loads(path.read_text(encoding="utf-8"))["identity"]
            if isinstance(identity, dict):
                return identity
            problem = "no identity in its run.json"
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = "files, but no run.json" if not path.exists() else f"an unreadable run.json ({error})"
        raise RequestError(
            f"The output folder {self.folder}",
            found=problem,
            expected="a new or empty folder, or a run of this engine",
            mend="name another with --out",
        )

    def start(self) -> None:
        """Make the folder this run's own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._replaces:
            self._remove_pictures()
        if not self.resumed:
            write_text(self.folder / METADATA, "")
            self.write_run(complete=False)

    def _remove_pictures(self) -> None:
        """Remove the numbered pictures of the run that stands here, and nothing else."""
        for path in self.folder.glob("*/*.png"):
            if path.stem.isdigit() and len(path.stem) >= 6:
                path.unlink()

    def lines(self) -> list[str]:
        """The whole metadata lines that stand; a torn last line is none."""
        path = self.folder / METADATA
        if not self.resumed or not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()

    def keep(self, lines: list[str]) -> None:
        """Cut metadata.jsonl back to these lines."""
        write_text(self.folder / METADATA, "".join(line + "\n" for line in lines))

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Add the lines of one finished chunk."""
        with (self.folder / METADATA).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def write_run(self, *, complete: bool, **facts: Any) -> None:
        """Write run.json: the identity, and the facts of this machine and time."""
        write_json(self.folder / RUN, {"identity": self.identity, "complete": complete, **facts})
