"""Fields of a bundle's manifest: JSON values that know where they stand, and the checks that they must pass."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import RequestError

__all__ = ["Field"]


class Field:
    """A JSON value, its place in the manifest, and the checks that it must pass."""

    def __init__(self, path: Path, field: str, value: Any) -> None:
        self.path, self.field, self.value = path, field, value

    def fail(self, expected: str) -> RequestError:
        """An error that names this field."""
        try:
            shown = json.dumps(self.value)
        except RecursionError:
            shown = "a value that is nested too deep"
        found = shown if len(shown) <= 80 else shown[:77] + "..."
        subject = f"The manifest {self.path}, field {self.field or '(top)'}"
        return RequestError(subject, found=found, expected=expected, fix="export the bundle again")

    def __getitem__(self, name: str) -> Field:
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        field = f"{self.field}.{name}" if self.field else name
        if name not in self.value:
            raise Field(self.path, field, None).fail("a value; it is missing")
        return Field(self.path, field, self.value[name])

    def has(self, name: str) -> bool:
        """Whether an object has this member."""
        return isinstance(self.value, dict) and name in self.value

    def items(self) -> list[tuple[str, Field]]:
        """An object's members."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        return [(name, self[name]) for name in self.value]

    def elements(self) -> list[Field]:
        """A list's elements, one at least."""
        if not isinstance(self.value, list) or not self.value:
            raise self.fail("a list with something in it")
        return [Field(self.path, f"{self.field}[{i}]", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        """Printable text, not empty."""
        if not isinstance(self.value, str) or not self.value or not self.value.isprintable():
            raise self.fail("printable text")
        return self.value

    def choice(self, *allowed: str) -> str:
        """One of these texts."""
        if self.text() not in allowed:
            raise self.fail(f"one of {', '.join(allowed)}")
        return self.text()

    def whole(self, low: int, high: int) -> int:
        """A whole number within bounds, both included."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self.fail(f"a whole number in {low}..{high}")
        return self.value

    def number(self, low: float, high: float) -> float:
        """A number within bounds, both included."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        # The comparison comes first: a whole number of many digits is no float.
        if not is_number or not low <= self.value <= high:
            raise self.fail(f"a number in [{low:g}, {high:g}]")
        return float(self.value)

    def name_in(self, files: Container[str]) -> str:
        """A name that stands under files."""
        if self.text() not in files:
            raise self.fail("a name that stands under files")
        return self.text()

    def check_file_name(self, name: str) -> None:
        """Only plain names inside the bundle: a manifest must not reach other folders."""
        parts = PurePosixPath(name).parts
        if (
            not name.isprintable()
            or len(name.encode()) > 200
            or "\\" in name
            or ":" in name
            or len(parts) != 1
            or parts[0] in (".", "..", "/")
        ):
            raise self.fail("a plain file name, without folders")
