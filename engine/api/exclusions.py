"""Lists of pictures to leave out, for example the copies that `python -m evaluate copies` found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.output.provenance import OPTIONAL

__all__ = ["read_exclusions"]

FREE = ("batch_size", "backend", "precision", "threads")
"""Settings that do not change a picture visibly, so that a list of one machine is valid on another machine."""


def read_exclusions(path: Path, descriptions: dict[str, dict[str, Any]]) -> dict[str, set[int]]:
    """Return the seeds to leave out of each class, from a file of JSON lines like metadata.jsonl.

    descriptions: the result of engine.output.provenance.describe for each class. Lines of other classes are ignored.
    Raises RequestError for an unreadable file, for a line without class and seed, and for a picture that was made with
    other settings, because its seed gives another picture here.
    """

    def problem(number: int, found: str, expected: str, fix: str) -> RequestError:
        return RequestError(f"The list {path}, line {number}", found=found, expected=expected, fix=fix)

    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The list {path}", found=str(error), expected="a file of JSON lines", fix="check the path"
        ) from error
    seeds: dict[str, set[int]] = {name: set() for name in descriptions}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, seed = row["class"], row["seed"]
            if type(seed) is not int:
                raise TypeError(f"the seed {seed} is not a whole number")
        except (ValueError, KeyError, TypeError) as error:
            raise problem(
                number,
                f"{type(error).__name__}: {error}",
                "an object with class and seed, as in metadata.jsonl",
                "list pictures of a folder that `engine generate` wrote",
            ) from error
        if name not in descriptions:
            continue
        wanted = descriptions[name]
        keys = [key for key in dict.fromkeys([*wanted, *OPTIONAL]) if key not in FREE]
        if other := [key for key in keys if row.get(key) != wanted.get(key)]:
            raise problem(
                number,
                ", ".join(f"{key} {str(row.get(key))[:80]}" for key in other),
                ", ".join(f"{key} {str(wanted.get(key))[:80]}" for key in other),
                "use the settings that the listed pictures were made with",
            )
        seeds[name].add(seed)
    return seeds
