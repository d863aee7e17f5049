"""The command `judge`: which class synthetic cells show, in the eyes of an independent classifier."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from evaluate.cli.options import AsJson, RecordOut, Seed, finish, progress_bar
from evaluate.report.records import check_out, describe_folder, make_record
from evaluate.studies.judge import DEFINITIONS, JudgeSettings, check_judge, judge

__all__ = ["judge_command"]

WEAK = 0.9


def judge_command(
    synthetic: Annotated[
        list[Path], typer.Argument(metavar="FAKE_SET...", help="Synthetic pictures, a folder for each class.")
    ],
    train: Annotated[
        list[Path], typer.Option(help="Real pictures to learn from, a folder for each class; several add up.")
    ],
    held_out: Annotated[Path, typer.Option(help="Real pictures to test the judge on, the same classes.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = JudgeSettings.steps,
    size: Annotated[int, typer.Option(help="Side to which pictures are resized.")] = JudgeSettings.size,
    seed: Seed = JudgeSettings.seed,
    out: RecordOut = None,
    as_json: AsJson = False,
) -> None:
    """Train a classifier on real pictures alone and count which class it gives to each synthetic picture, beside its
    accuracy on held-out real ones."""
    check_out(out, "judge")
    settings = JudgeSettings(size=size, steps=steps, seed=seed)
    folders = check_judge(train, held_out, synthetic)
    inputs = {
        f"--train {name} {i + 1}": describe_folder(folder)
        for name, opened in folders.train.items()
        for i, folder in enumerate(opened)
    }
    inputs |= {f"--held-out {name}": describe_folder(folder) for name, folder in folders.held_out.items()}
    inputs |= {
        f"{path} {name}": describe_folder(folder)
        for path, opened in folders.synthetic.items()
        for name, folder in opened.items()
    }
    with progress_bar() as progress:
        found = judge(folders, settings, progress)
    weak = [name for name, share in found.held_out.items() if share.intended < WEAK]
    warnings = [
        f"The judge itself gives the right class to fewer than {WEAK:.0%} of held-out real {name} cells."
        for name in weak
    ]
    record = make_record(
        "judge",
        f"Judge: {', '.join(map(str, synthetic))}",
        inputs=inputs,
        results=asdict(found),
        definitions=DEFINITIONS,
        warnings=warnings,
        libraries=("torch",),
    )
    finish(record, {}, out, as_json)
