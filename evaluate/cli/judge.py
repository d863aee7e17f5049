"""The command `judge`: which class synthetic cells show, according to an independent classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.options import with_options
from engine.terminal import progress_bar
from evaluate.cli.options import Output, finish, locked
from evaluate.report.inputs import Input, describe_folder
from evaluate.report.records import check_out, make_record
from evaluate.studies.judge import DEFINITIONS, JudgeFolders, JudgeSettings, Verdict, check_judge, judge

__all__ = ["judge_command"]

WEAK = 0.9


@with_options
@locked(lambda values: values["output"].out)
def judge_command(
    synthetic: Annotated[
        list[Path], typer.Argument(metavar="FAKE_SET...", help="Synthetic pictures, one folder per class.")
    ],
    train: Annotated[
        list[Path],
        typer.Option(help="Real pictures to train the judge on, one folder per class. Repeat it to add more folders."),
    ],
    held_out: Annotated[Path, typer.Option(help="Real pictures of the same classes to test the judge on.")],
    settings: JudgeSettings,
    output: Output,
) -> None:
    """Train a classifier on real pictures and count the classes that it gives to synthetic pictures.

    The shares are shown beside the judge's accuracy on held-out real pictures.
    """
    check_out(output.out, "judge")
    folders = check_judge(train, held_out, synthetic)
    inputs = _inputs(folders)
    with progress_bar() as progress:
        found = judge(folders, settings, progress)
    record = make_record(
        f"Judge: {', '.join(map(str, synthetic))}",
        found,
        inputs=inputs,
        definitions=DEFINITIONS,
        warnings=_warnings(found),
        libraries=("torch",),
    )
    finish(record, {}, output)


def _inputs(folders: JudgeFolders) -> dict[str, Input]:
    named = {
        f"--train {name} {i + 1}": folder for name, opened in folders.train.items() for i, folder in enumerate(opened)
    }
    named |= {f"--held-out {name}": folder for name, folder in folders.held_out.items()}
    named |= {f"{path} {name}": folder for path, opened in folders.synthetic.items() for name, folder in opened.items()}
    return {name: describe_folder(folder) for name, folder in named.items()}


def _warnings(found: Verdict) -> list[str]:
    return [
        f"The judge itself gives the right class to fewer than {WEAK:.0%} of the held-out real {name} cells."
        for name, share in found.held_out.items()
        if share.intended < WEAK
    ]
