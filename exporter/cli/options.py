"""What several commands of the exporter share: the argument BUNDLE, the option --json, and progress."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

__all__ = ["BundleArgument", "JsonOption", "say"]

BundleArgument = Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of an embedded bundle, or a folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


def say(stage: str) -> None:
    """Print progress to stderr."""
    print(stage, file=sys.stderr)
