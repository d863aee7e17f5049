"""What a work folder of `adapt` remembers: the request that it belongs to, and the choices that were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.files import sha256_of, write_json

__all__ = ["Choices", "expect_same_request", "pictures_digest", "read_choices", "write_choices"]

REQUEST_FILE, CHOICES_FILE = "request.json", "choices.json"


@dataclass(frozen=True)
class Choices:
    """The crop of all pictures, and the prompt of each class."""

    crop: float
    prompts: dict[str, str]
    reasons: tuple[str, ...]
    """Sentences that say why."""


def pictures_digest(classes: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Return a hash of the pictures of each class: their names and content."""
    found = {}
    for name, paths in classes.items():
        digest = hashlib.sha256("".join(f"{path.name} {sha256_of(path)}\n" for path in paths).encode())
        found[name] = f"{len(paths)} pictures {digest.hexdigest()[:16]}"
    return found


def expect_same_request(work: Path, out: Path, request: dict[str, Any]) -> None:
    """Record the request of a new work folder, or compare it with the request of an interrupted run.

    Raises RequestError if they differ, or if a folder holds something else.
    """
    path = work / REQUEST_FILE
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        for key in [*request, *known]:
            if known.get(key) != request.get(key):
                before, now = known.get(key, "not given"), request.get(key, "not given")
                raise RequestError(
                    f"The work folder {work}, {key}",
                    found=f"{before}, from the first run",
                    expected=f"{now}, as this command asks",
                    fix=f"run the first command again to resume it, choose another --out, or remove {work} and {out}",
                )
        return
    for folder in (work, out):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RequestError(
                f"The folder {folder}",
                found="a file" if not folder.is_dir() else "files that no run of adapt with this --out has written",
                expected="a new folder, or the folder of an interrupted run",
                fix="choose another --out",
            )
    work.mkdir(parents=True, exist_ok=True)
    write_json(path, request)


def read_choices(work: Path) -> Choices | None:
    """Return the choices of an earlier run, or None."""
    path = work / CHOICES_FILE
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return Choices(found["crop"], found["prompts"], tuple(found["reasons"]))


def write_choices(work: Path, choices: Choices) -> None:
    """Record the choices."""
    write_json(
        work / CHOICES_FILE, {"crop": choices.crop, "prompts": choices.prompts, "reasons": list(choices.reasons)}
    )
