"""The commands that work on whole checkpoints: merge-checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.options import with_options
from engine.terminal import stopped_by_signals, warn
from trainer.checkpoints.settings import MergeSettings
from trainer.cli.options import progress_bar

__all__ = ["merge_checkpoints"]


@with_options
def merge_checkpoints(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="A [B] [C]", help="Checkpoints: .safetensors files in the original layout."),
    ],
    settings: MergeSettings,
) -> None:
    """Merge two or three checkpoints of Stable Diffusion, as AUTOMATIC1111's WebUI does.

    A tensor is merged if A and B have it and its name contains "model". All others stay as they are in A.
    """
    from trainer.checkpoints.merge import merge_checkpoints as merge
    from trainer.checkpoints.plan import Way

    with progress_bar() as progress, stopped_by_signals() as stop:
        plan = merge(files, settings, progress=progress, stop=stop)
    counts = [f"{count} {way.value}" for way in Way if (count := plan.count(way))]
    if plan.discarded:
        counts.append(f"{plan.discarded} left out")
    print(f"Tensors: {', '.join(counts)}")
    if plan.wider is not None and plan.wider not in settings.out.name:
        warn(f"The result is a checkpoint for {plan.wider}. The WebUI wants this word in the name of its file.")
    print(f"The checkpoint: {settings.out}, {settings.out.stat().st_size / 1e6:.0f} MB")
