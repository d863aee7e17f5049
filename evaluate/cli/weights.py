"""The command `weights`: the weights of the Inception network, which FID, KID and IS need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluate.encoders.inception_weights import PUBLISHED, VARIABLE, cached_weights, check_weights, fetch_weights

__all__ = ["weights_command"]


def weights_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="File that you downloaded yourself. It is only checked.")
    ] = None,
) -> None:
    """Download Inception's published weights (96 MB) once into the user's cache, and check their size and SHA-256."""
    if file is None:
        print(f"{fetch_weights(cached_weights())}: {PUBLISHED}.")
    else:
        print(f"{check_weights(file)}: {PUBLISHED}. Set {VARIABLE} to this file, so that `score` uses it.")
