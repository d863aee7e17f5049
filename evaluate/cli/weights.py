"""The command `weights`: Inception's, which FID, KID and IS are defined on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluate.encoders.inception_weights import PUBLISHED, VARIABLE, cached_weights, check_weights, fetch_weights

__all__ = ["weights_command"]


def weights_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Only check a file that was fetched by hand.")
    ] = None,
) -> None:
    """Fetch Inception's published weights (96 MB) once into the user's cache, their size and SHA-256 checked."""
    if file is None:
        print(f"{fetch_weights(cached_weights())}: {PUBLISHED}.")
    else:
        print(f"{check_weights(file)}: {PUBLISHED}. `score` takes it where {VARIABLE} names it.")
