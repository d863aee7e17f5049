"""The file in which the options survive a restart. It is read as carefully as the body of a request."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.files import replace_file

__all__ = ["OPTIONS", "read_options", "refused", "write_options"]

OPTIONS = "options.json"
"""Name of the file in the data folder."""
LARGEST_FILE = 2**16
LONGEST = 80
"""Most characters of a foreign text that an error shows."""


def refused(found: str, expected: str) -> RequestError:
    """Return the error of a file that holds something else."""
    fix = f"correct the file, or remove {OPTIONS} from the folder of --data: then all options have their defaults"
    return RequestError(f"The options that the server kept ({OPTIONS})", found=found, expected=expected, fix=fix)


def read_options(path: Path) -> dict[str, Any]:
    """Return what a file holds, names unchecked, or nothing if there is no file. Raises RequestError."""
    expected = "a JSON object of at most 64 KiB with one value for each option"
    try:
        # O_NONBLOCK: a pipe in its place must not hold up the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise refused(error.strerror or str(error), "a readable file, no link") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refused("no regular file", expected)
    with open(descriptor, "rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise refused("a larger file", expected)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refused(f"no JSON ({str(error)[:LONGEST]})", expected) from None
    if not isinstance(found, dict):
        raise refused(f"a value of the type {type(found).__name__}", expected)
    for name, value in found.items():
        if not isinstance(value, str | int | float | bool | None):
            raise refused(f"{name[:LONGEST]!a} with a value of the type {type(value).__name__}", expected)
    return found


def write_options(path: Path, values: Mapping[str, Any]) -> None:
    """Replace the file. Only its owner may read it. Raises OSError."""
    content = json.dumps(dict(sorted(values.items())), indent=2) + "\n"
    with replace_file(path) as part:
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(content)
