"""The commands that train a class: fit and embed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.options import Without, with_options
from engine.terminal import stopped_by_signals, warn
from trainer.cli.options import BaseSource, exit_if_stopped, given_options, progress_bar, warn_of_misfits
from trainer.fitting.presets import preset_for
from trainer.fitting.settings import (
    ClassTrainingSettings,
    MethodSettings,
    NetworkSettings,
    PresetSettings,
    WordSettings,
)
from trainer.training.schedule import constant
from trainer.training.settings import LoopSettings

__all__ = ["embed", "fit"]

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of prepared pictures of one class.")]
Out = Annotated[Path, typer.Option(help="Folder for <class>.safetensors and the record.", rich_help_panel="Output")]
WORDS = ClassTrainingSettings(loop=LoopSettings(learning_rate=constant(0.005), weight_decay=0.0))
"""Defaults of embed."""


@with_options
def fit(
    context: typer.Context,
    data: Data,
    source: BaseSource,
    out: Out,
    settings: ClassTrainingSettings,
    method: MethodSettings,
    network: NetworkSettings,
    preset: PresetSettings,
) -> None:
    """Train one class on a base: a hypernetwork, a LoRA, or the whole UNet.

    Options that are not given have the values of the preset that suits the base.
    """
    from trainer.fitting.class_training import ClassRequest
    from trainer.fitting.fit import fit as train

    given = given_options(context)
    method.expect_matching(given, webui=settings.output.webui)
    with progress_bar() as progress, stopped_by_signals() as stop:
        request = ClassRequest(data, out, settings, stop, progress, warn)
        base = source.open()
        chosen = preset_for(preset.preset or base.card.fit_preset, method.method)
        request = replace(request, settings=chosen.applied(settings, given, request.record.pictures))
        warn_of_misfits(base.card, request.record.prompt, data)
        facts = train(base, request, network, method)
    _end(facts, {"hypernetwork": "The hypernetwork", "lora": "The LoRA", "full": "The UNet"}[method.method], out)


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
    exit_if_stopped(run["steps_done"], run["steps"])
