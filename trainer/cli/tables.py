"""The command `table`: learn a sampler of few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.files import expect_new_file, write_json
from engine.locks import locked_folder_of
from engine.options import Without, with_options
from trainer.cli.options import progress_bar
from trainer.tables.settings import TableSettings, TeacherSettings
from trainer.training.settings import Hardware

__all__ = ["table"]


@with_options
def table(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    out: Annotated[Path, typer.Option(help="New JSON file for the table.")],
    teacher: TeacherSettings,
    settings: TableSettings,
    hardware: Annotated[Hardware, Without("precision", "gradient_checkpointing", "compiled")],
) -> None:
    """Learn noise levels and coefficients of few steps that end where the teacher's steps end.

    One table serves all given classes. `python -m exporter preset BUNDLE NAME --table FILE` puts it into a bundle.
    """
    from trainer.tables.learn import as_json, learn_table
    from trainer.tables.subjects import open_subjects
    from trainer.training.devices import choose_compute

    expect_new_file(out)
    compute = choose_compute(hardware)
    subjects = open_subjects(merged)
    with progress_bar() as progress, locked_folder_of(out):
        found = learn_table(subjects, teacher, settings, compute, progress)
        write_json(out, as_json(found, teacher, settings))
    few, many = found.evaluations
    print(f"{settings.rows} rows, {few} UNet evaluations per picture; the teacher has {many}")
    print(f"Error of the latents on noises that were kept back: {found.after:.3f} of their deviation;", end=" ")
    print(f"DPM++ 2M with as many steps: {found.before:.3f}")
    print(f"The table: {out}")
