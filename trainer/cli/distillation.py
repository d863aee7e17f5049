"""The command `distill`: train a LoRA for a sampler of few steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import RequestError
from engine.locks import locked_folder_of
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.options import Without, with_options
from engine.terminal import stopped_by_signals
from trainer.cli.options import progress_bar
from trainer.distillation.settings import DistillSettings
from trainer.tables.settings import TeacherSettings
from trainer.training.outputs import Outputs, OutputSettings
from trainer.training.settings import Hardware

__all__ = ["distill"]


@with_options
def distill(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.json.", rich_help_panel="Output")],
    teacher: TeacherSettings,
    settings: DistillSettings,
    hardware: Annotated[Hardware, Without("compiled")],
    output: Annotated[OutputSettings, Without("webui")],
    name: Annotated[str, typer.Option(help="Name of the LoRA and its table.", rich_help_panel="Output")] = "turbo",
) -> None:
    """Train a LoRA with which few unguided steps go the way of many guided ones.

    NAME.json holds the table of the steps. Merge NAME.safetensors into each folder, and add the table and these folders
    to a bundle with `python -m exporter preset`.
    """
    from trainer.distillation.distill import DistillRequest
    from trainer.distillation.distill import distill as train
    from trainer.tables.subjects import open_subjects
    from trainer.training.devices import choose_compute

    if not is_class_name(name):
        raise RequestError("--name", found=name, expected=CLASS_NAME_RULE, fix="change the name")
    settings.stride(teacher)
    outputs = Outputs(out, name)
    outputs.check(output)
    compute = choose_compute(hardware)
    with progress_bar() as progress, stopped_by_signals() as stop, locked_folder_of(outputs.record):
        subjects = open_subjects(merged)
        if output.overwrite:
            outputs.remove()
        found = train(subjects, DistillRequest(outputs, teacher, settings, compute, stop, progress))
    run = found["training"]
    print(f"The LoRA: {outputs.weights}; its table: {outputs.record}")
    print(f"{found['evaluations']} UNet evaluations per picture; the teacher has {found['evaluations_of_the_teacher']}")
    print(f"Error of the latents on noises that were kept back: {found['error']:.3f} of their deviation;", end=" ")
    print(f"DPM++ 2M with as many steps: {found['error_of_dpmpp_2m']:.3f}")
    if run["steps_done"] < run["steps"]:
        print(f"Stopped at step {run['steps_done']} of {run['steps']}. To resume, run the same command with --resume.")
        sys.exit(1)
