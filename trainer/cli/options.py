"""Options and the progress bar that the trainer's commands share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine import terminal
from engine.options import setting

if TYPE_CHECKING:
    from trainer.base.base import Base

__all__ = ["BaseSource", "Out", "progress_bar", "warn"]

Out = Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the output.")]


@dataclass(frozen=True)
class BaseSource:
    """Where the base comes from."""

    base: str = setting(
        help="Base: a diffusers folder, a single .safetensors file, or a model name of the Hugging Face hub."
    )
    tokenizer: Path | None = setting(
        None, help="Folder with CLIP's vocabulary. A base from a single file needs this without network."
    )

    def open(self) -> Base:
        """Return the base. Raises RequestError."""
        from trainer.base.base import open_base

        return open_base(self.base, self.tokenizer)


progress_bar = partial(terminal.progress_bar, line_every_s=0.0)
"""Progress with loss and rate on stderr: bars on a terminal, and elsewhere a line after each twentieth of a task."""


def warn(words: str) -> None:
    """Print a warning to stderr."""
    print(f"warning: {words}", file=sys.stderr)
