"""Merges of checkpoints: `python -m trainer merge-checkpoints` in the data folder, one at a time."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from engine.errors import RequestError, first_line
from engine.files import is_hidden
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.serve.page.children import Child

__all__ = ["INPUTS", "Merge", "MergeRequest", "Merges"]

SUFFIX = ".safetensors"
LOG = "merge-log.txt"
INPUTS = {"weighted-sum": 2, "add-difference": 3, "no-interpolation": 1}
"""Number of checkpoints of each method of the command."""


@dataclass(frozen=True)
class MergeRequest:
    """A merge, whose checkpoints are named without a folder."""

    checkpoints: tuple[str, ...]
    """As many as the method takes."""
    method: str
    multiplier: float
    half: bool
    name: str
    """Name of the result, without an ending."""


@dataclass(frozen=True)
class Merge:
    """One merge: the file that it makes, and its child process."""

    file: str
    child: Child


class Merges:
    """The checkpoints of a server, and what is merged from them. A request names no path."""

    def __init__(self, folder: Path) -> None:
        """folder: where the checkpoints lie. Its owner may put files there."""
        self._folder = folder
        self._changed = threading.Lock()
        self.last: Merge | None = None
        folder.mkdir(mode=0o700, exist_ok=True)

    def names(self) -> list[str]:
        """Return the names of the checkpoints in the folder, sorted."""
        return sorted(
            path.name
            for path in self._folder.iterdir()
            if path.suffix == SUFFIX and path.is_file() and not is_hidden(path.name) and path.name.isprintable()
        )

    def take(self, uploaded: Path) -> str:
        """Move an uploaded file into the folder, and return its name. Raises RequestError for another kind of file."""
        name = uploaded.name
        if uploaded.suffix != SUFFIX or not is_class_name(uploaded.stem.replace(".", "-").replace(" ", "-")):
            raise RequestError(
                f"The file {name}",
                found="another name",
                expected=f"letters, digits, _, - and dots, and {SUFFIX} at the end",
                fix="rename the file, or drop another one",
            )
        try:
            with safe_open(uploaded, framework="np"):
                pass
        except (OSError, ValueError, SafetensorError) as error:
            raise RequestError(
                f"The file {name}",
                found=f"unreadable ({first_line(error)})",
                expected="a complete safetensors file",
                fix="drop another file",
            ) from error
        with self._changed:
            self._expect_new(name)
            shutil.move(uploaded, self._folder / name)
        return name

    def start(self, request: MergeRequest) -> Merge:
        """Start a merge. Raises RequestError for a wrong request, and while another merge runs."""
        self._check(request)
        with self._changed:
            if self.last is not None and self.last.child.running:
                raise RequestError(
                    "Merge",
                    found=f"the merge {self.last.file}",
                    expected="one merge at a time",
                    fix="wait for its end, or stop it",
                )
            file = request.name + SUFFIX
            self._expect_new(file)
            words: list[str | Path] = ["trainer", "merge-checkpoints"]
            words += [self._folder / name for name in request.checkpoints]
            words += ["--method", request.method, "--multiplier", str(request.multiplier)]
            words += ["--half"] if request.half else []
            words += ["--out", self._folder / file]
            self.last = Merge(file, Child(words, self._folder / LOG))
            return self.last

    def _check(self, request: MergeRequest) -> None:
        if request.method not in INPUTS or len(request.checkpoints) != INPUTS[request.method]:
            raise RequestError(
                "The method",
                found=f"{request.method} of {len(request.checkpoints)} checkpoints",
                expected=", ".join(f"{method} of {count}" for method, count in INPUTS.items()),
                fix="choose a method",
            )
        known = self.names()
        for letter, name in zip("ABC", request.checkpoints, strict=False):
            if name not in known:
                raise RequestError(
                    f"Checkpoint {letter}",
                    found=name or "none",
                    expected="a checkpoint of the menu",
                    fix="choose one, or put it into the folder checkpoints of the server's data",
                )
        if not is_class_name(request.name):
            raise RequestError(
                "The name of the result",
                found=request.name or "nothing",
                expected=CLASS_NAME_RULE,
                fix="choose another name",
            )
        self._expect_new(request.name + SUFFIX)

    def _expect_new(self, name: str) -> None:
        if (self._folder / name).exists():
            raise RequestError(
                f"The checkpoint {name}", found="an existing file", expected="a new name", fix="choose another name"
            )

    def close(self) -> None:
        """Stop the merge that runs."""
        if self.last is not None:
            self.last.child.stop()
