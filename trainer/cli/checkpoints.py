"""The commands that work on whole checkpoints: merge-checkpoints and extract-lora."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.options import with_options
from engine.terminal import stopped_by_signals, warn
from trainer.checkpoints.settings import ExtractSettings, MergeSettings
from trainer.cli.options import progress_bar

__all__ = ["extract_lora", "merge_checkpoints"]

SHOWN = 5
"""Number of layers, those of which the LoRA keeps least, that are printed."""


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


@with_options
def extract_lora(
    tuned: Annotated[Path, typer.Argument(metavar="TUNED", help="Trained checkpoint: .safetensors.")],
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Checkpoint from which its training started.")],
    settings: ExtractSettings,
) -> None:
    """Write a LoRA that holds the difference of two checkpoints of Stable Diffusion 1, as far as its rank allows.

    The names in the file are those of kohya's sd-scripts, which AUTOMATIC1111's WebUI reads.
    """
    from trainer.checkpoints.extract import extract_lora as extract

    with progress_bar() as progress, stopped_by_signals() as stop:
        found = extract(tuned, base, settings, progress=progress, stop=stop)
    print(f"Energy kept (share of the squares of all changes): {found.kept:.1%}")
    print(f"Layers: {len(found.layers)}. Those of which least is kept:")
    for layer in sorted(found.layers, key=lambda layer: layer.kept)[:SHOWN]:
        print(f"  {layer.kept:6.1%}  rank {layer.rank}  {layer.name}")
    if found.outside:
        warn(f"{found.outside} tensors changed that a LoRA cannot hold (biases, norms, embeddings). They are left out.")
    print(f"The LoRA: {settings.out}, {settings.out.stat().st_size / 1e6:.0f} MB")
