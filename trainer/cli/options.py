"""Options and the progress bar that the trainer's commands share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine import terminal
from engine.options import setting

if TYPE_CHECKING:
    from trainer.base.base import Base
    from trainer.base.card import BaseCard

__all__ = ["BaseSource", "Out", "exit_if_stopped", "given_options", "print_errors", "progress_bar", "warn_of_misfits"]

Out = Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the output.")]


@dataclass(frozen=True)
class BaseSource:
    """Where the base comes from."""

    base: str = setting(
        help="Base: cells (the base that ships), a diffusers folder, a single .safetensors file, or a model name of "
        "the Hugging Face hub."
    )
    tokenizer: Path | None = setting(
        None, help="Folder with CLIP's vocabulary. A base from a single file needs this without network."
    )

    def open(self) -> Base:
        """Return the base. Raises RequestError."""
        from trainer.base.base import open_base

        return open_base(self.base, self.tokenizer)


def given_options(context: typer.Context) -> set[str]:
    """Return the names of the parameters that were given on the command line."""
    # Typer has a copy of click, so its enumeration is not the one of the package click.
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def exit_if_stopped(steps_done: int, steps: int) -> None:
    """End with the exit code 1 if a training was stopped before its last step, and say how to resume it."""
    if steps_done < steps:
        print(f"Stopped at step {steps_done} of {steps}. To resume, run the same command with --resume.")
        sys.exit(1)


def print_errors(found: Mapping[str, Any]) -> None:
    """Print how far few steps end from their teacher, and DPM++ 2M. found: the record of `table` or `distill`."""
    print(f"Error of the latents on noises that were kept back: {found['error']:.3f} of their deviation;", end=" ")
    print(f"DPM++ 2M with as many steps: {found['error_of_dpmpp_2m']:.3f}")


def warn_of_misfits(card: BaseCard, prompt: str, folder: Path | None) -> None:
    """Print a warning to stderr for each way in which a class does not suit a base.

    folder: prepared pictures of the class, or None if there are none to measure.
    """
    from trainer.base.suits import misfits
    from trainer.pictures.framing import shares_of_files

    shares = None
    if folder is not None and card.nucleus_share is not None:
        shares = next(iter(shares_of_files(folder).values()))
    for sentence in misfits(card, prompt, shares):
        terminal.warn(sentence)


progress_bar = partial(terminal.progress_bar, line_every_s=0.0)
"""Progress with loss and rate on stderr: bars on a terminal, and elsewhere a line after each twentieth of a task."""
