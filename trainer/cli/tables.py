"""The command `table`: learn a sampler of few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import RequestError
from engine.locks import locked_folder_of
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.options import Without, with_options
from engine.terminal import stopped_by_signals
from trainer.cli.options import exit_if_stopped, print_errors, progress_bar
from trainer.tables.settings import TableSettings, TeacherSettings
from trainer.training.outputs import Outputs, OutputSettings
from trainer.training.settings import Hardware

__all__ = ["table"]


@with_options
def table(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    out: Annotated[Path, typer.Option(metavar="NAME.json", help="File for the table.", rich_help_panel="Output")],
    teacher: TeacherSettings,
    settings: TableSettings,
    hardware: Annotated[Hardware, Without("precision", "gradient_checkpointing", "compiled")],
    output: Annotated[OutputSettings, Without("webui")],
) -> None:
    """Learn noise levels and coefficients of few steps that end where the teacher's steps end.

    One table serves all given classes. `python -m exporter preset BUNDLE NAME --table FILE` puts it into a bundle.
    """
    from trainer.tables.learn import learn_table
    from trainer.tables.subjects import open_subjects
    from trainer.tables.teacher import FollowRequest
    from trainer.training.devices import choose_compute

    if out.suffix != ".json" or not is_class_name(out.stem):
        raise RequestError(
            "--out", found=str(out), expected=f"NAME.json with a NAME of {CLASS_NAME_RULE}", fix="change the name"
        )
    outputs = Outputs(out.parent, out.stem)
    outputs.check(output)
    # The gradient goes through all rows of the table, so a GPU computes in float32, too.
    compute = choose_compute(replace(hardware, precision="f32"))
    with progress_bar() as progress, stopped_by_signals() as stop, locked_folder_of(outputs.record):
        subjects = open_subjects(merged)
        if output.overwrite:
            outputs.remove()
        found = learn_table(subjects, FollowRequest(outputs, teacher, settings, compute, stop, progress))
    few, many = found["evaluations"], found["evaluations_of_the_teacher"]
    print(f"{settings.rows} rows, {few} UNet evaluations per picture; the teacher has {many}")
    print_errors(found)
    print(f"The table: {out}")
    exit_if_stopped(found["steps_done"], settings.steps)
