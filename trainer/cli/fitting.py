"""The commands that train a class: fit and embed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.options import Without, with_options
from engine.terminal import stopped_by_signals
from trainer.cli.options import BaseSource, progress_bar, warn
from trainer.fitting.settings import ClassTrainingSettings, NetworkSettings, WordSettings
from trainer.training.schedule import constant
from trainer.training.settings import LoopSettings

__all__ = ["embed", "fit"]

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of prepared pictures of one class.")]
Out = Annotated[Path, typer.Option(help="Folder for <class>.safetensors and the record.", rich_help_panel="Output")]
WORDS = ClassTrainingSettings(loop=LoopSettings(learning_rate=constant(0.005), weight_decay=0.0))
"""Defaults of embed."""


@with_options
def fit(data: Data, source: BaseSource, out: Out, settings: ClassTrainingSettings, network: NetworkSettings) -> None:
    """Train the hypernetwork of one class on a frozen base. The defaults are the thesis's for Stable Diffusion 1.5."""
    from trainer.fitting.class_training import ClassRequest
    from trainer.fitting.fit import fit as train

    with progress_bar() as progress, stopped_by_signals() as stop:
        request = ClassRequest(data, out, settings, stop, progress, warn)
        facts = train(source.open(), request, network)
    _end(facts, "The hypernetwork", out)


@with_options
def embed(
    data: Data,
    source: BaseSource,
    out: Out,
    words: WordSettings,
    settings: Annotated[ClassTrainingSettings, Without("prompt")] = WORDS,
) -> None:
    """Train new words for one class on a frozen base (textual inversion)."""
    from trainer.fitting.class_training import ClassRequest
    from trainer.fitting.embed import embed as train

    with progress_bar() as progress, stopped_by_signals() as stop:
        request = ClassRequest(data, out, settings, stop, progress, warn)
        facts = train(source.open(), request, words)
    _end(facts, f"The embedding for prompts with {facts['words']}", out)


def _end(facts: dict[str, Any], what: str, out: Path) -> None:
    """Print where the weights and the record are. Exit with 1 if the training stopped early."""
    run, path = facts["training"], out / f"{facts['record']['class_name']}.safetensors"
    speed = 1 / max(run["seconds_per_step"], 1e-9)
    print(f"{what}: {path}; record: {path.with_suffix('.json')}")
    print(f"{run['steps_done']} steps in {run['seconds']:.0f} s, {speed:.2f} steps per second")
    if run["steps_done"] < run["steps"]:
        print(f"Stopped at step {run['steps_done']} of {run['steps']}. To resume, run the same command with --resume.")
        sys.exit(1)
