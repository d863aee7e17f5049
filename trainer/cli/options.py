"""What the trainer's commands share: options, and a progress bar with loss, rate and the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["BaseName", "BatchSize", "Device", "Out", "Seed", "Tokenizer", "progress_bar"]

BaseName = Annotated[str, typer.Option(help="A diffusers folder, a single .safetensors file, or a model of the hub.")]
Tokenizer = Annotated[Path | None, typer.Option(help="CLIP's vocabulary, for a single file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, or cuda:0.")]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
BatchSize = Annotated[int, typer.Option(help="Pictures a step.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")]


@contextmanager
def progress_bar() -> Iterator[Callable[..., None]]:
    """Progress on stderr, (task, done, total, loss, rate): a bar on a terminal, a line every twentieth part
    elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int, loss: float | None = None, rate: float | None = None) -> None:
            words = name if loss is None else f"{name}, loss {loss:.4f}, rate {rate:.2g}"
            if not console.is_terminal:
                if done * 20 // total > (done - 1) * 20 // total:
                    print(f"{words}, {done}/{total}", file=sys.stderr, flush=True)
                return
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total, description=words)

        yield update
