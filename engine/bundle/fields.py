"""Fields of a bundle's manifest: JSON values that know their place, and the checks that they must pass."""

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
        """Return an error that names this field."""
        try:
            shown = json.dumps(self.value)
        except RecursionError:
            shown = "a value that is nested too deeply"
        found = shown if len(shown) <= 80 else shown[:77] + "..."
        subject = f"The manifest {self.path}, field {self.field or '(top)'}"
        return RequestError(subject, found=found, expected=expected, fix="export the bundle again")

    def since(self, version: int, format_version: Field) -> Field:
        """Return this field. Raises RequestError if the manifest has an earlier version of the format."""
        if format_version.whole(1, 2**31) < version:
            raise self.fail(f"no such field before version {version} of the format")
        return self

    def __getitem__(self, name: str) -> Field:
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        field = f"{self.field}.{name}" if self.field else name
        if name not in self.value:
            raise Field(self.path, field, None).fail("a value (the field is missing)")
        return Field(self.path, field, self.value[name])

    def has(self, name: str) -> bool:
        """Return whether an object has this member."""
        return isinstance(self.value, dict) and name in self.value

    def items(self) -> list[tuple[str, Field]]:
        """Return the members of an object."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        return [(name, self[name]) for name in self.value]

    def elements(self) -> list[Field]:
        """Return the elements of a list, which must not be empty."""
        if not isinstance(self.value, list) or not self.value:
            raise self.fail("a list that is not empty")
        return [Field(self.path, f"{self.field}[{i}]", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        """Return printable text, which must not be empty."""
        if not isinstance(self.value, str) or not self.value or not self.value.isprintable():
            raise self.fail("printable text")
        return self.value

    def choice(self, *allowed: str) -> str:
        """Return a text, which must be one of these."""
        if self.text() not in allowed:
            raise self.fail(f"one of {', '.join(allowed)}")
        return self.text()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number within bounds, both included."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self.fail(f"a whole number in {low}..{high}")
        return self.value

    def number(self, low: float, high: float) -> float:
        """Return a number within bounds, both included."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        # Compare before converting: a whole number of many digits does not fit into a float.
        if not is_number or not low <= self.value <= high:
            raise self.fail(f"a number in [{low:g}, {high:g}]")
        return float(self.value)

    def name_in(self, files: Container[str]) -> str:
        """Return a file name, which must be listed under files."""
        if self.text() not in files:
            raise self.fail("a name that is listed under files")
        return self.text()

    def check_file_name(self, name: str) -> None:
        """Raise RequestError unless a file name is plain: a manifest must not reach other folders."""
        parts = PurePosixPath(name).parts
        if (
            not name.isprintable()
            or len(name.encode()) > 200
            or "\\" in name
            or ":" in name
            or len(parts) != 1
            or parts[0] in (".", "..", "/")
        ):
            raise self.fail("a plain file name without folders")
