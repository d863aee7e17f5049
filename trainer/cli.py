"""The command line `python -m trainer`: phantom, prepare, pretrain, fit, merge, encoder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from engine.errors import CytosynthError, RequestError
from trainer.phantom import GENERAL, RECIPES

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
BatchSize = Annotated[int, typer.Option(help="Pictures a step.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")]


@app.command()
def phantom(
    out: Out,
    class_name: Annotated[
        list[str], typer.Option("--class", help=f"{', '.join([*RECIPES, GENERAL])}; may be repeated.")
    ] = list(RECIPES),  # noqa: B006 - typer copies it
    n: Annotated[int, typer.Option("--n", help="Pictures of each class.")] = 20,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 256,
    seed: Seed = 0,
) -> None:
    """Draw procedural cytology pictures and their masks: OUT/pictures/<class>, OUT/masks/<class>."""
    from trainer.phantom_set import draw_set

    with _bar() as progress:
        workers = os.cpu_count() or 1
        draw_set(
            out,
            class_name,
            n=n,
            size=size,
            seed=seed,
            workers=workers,
            progress=lambda done, total: progress("phantom", done, total),
        )
    print(f"{n} pictures of each of {', '.join(class_name)} in {out / 'pictures'}, their masks in {out / 'masks'}.")


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Pictures, or a folder of them for each class.")],
    out: Out,
    size: Annotated[int, typer.Option(help="Side in pixels, a multiple of 8 (of 32 for the preset small).")] = 128,
    crop: Annotated[float, typer.Option(help="Share of the centre square that is kept.")] = 1.0,
    n: Annotated[int | None, typer.Option("--n", help="Pictures of each class, by augmentation.")] = None,
    seed: Seed = 0,
) -> None:
    """Centre square, resize and augment: OUT/<class>/*.png and OUT/sources.jsonl."""
    from trainer import prepare as room

    with _bar() as progress:
        counts = room.prepare(
            source,
            out,
            size=size,
            crop=crop,
            n=n,
            seed=seed,
            progress=lambda done, total: progress("prepare", done, total),
        )
    print(f"{sum(counts.values())} pictures of {size} x {size} in {out}: {counts}")


@app.command()
def pretrain(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Prepared folders.")],
    out: Annotated[Path, typer.Option("--out", help="The base's folder; a cut-off run goes on there.")],
    preset: Annotated[str, typer.Option(help="small, or tiny for trials.")] = "small",
    vae_steps: Annotated[int, typer.Option(help="Steps of the autoencoder.")] = 3600,
    vae_batch_size: BatchSize = 8,
    vae_learning_rate: Annotated[float, typer.Option()] = 4e-4,
    unet_steps: Annotated[int, typer.Option(help="Steps of UNet and text encoder.")] = 5500,
    unet_batch_size: BatchSize = 16,
    unet_learning_rate: Annotated[float, typer.Option()] = 4e-4,
    seed: Seed = 0,
) -> None:
    """Train a small latent-diffusion base from scratch, as a diffusers folder."""
    from trainer import pretrain as room
    from trainer.loop import LoopSettings

    with _bar() as progress:
        room.pretrain(
            data,
            out,
            preset=preset,
            vae_settings=LoopSettings(
                vae_steps, vae_batch_size, vae_learning_rate, warmup=min(200, vae_steps // 10), seed=seed
            ),
            unet_settings=LoopSettings(
                unet_steps,
                unet_batch_size,
                unet_learning_rate,
                warmup=min(200, unet_steps // 10),
                ema_decay=0.999,
                seed=seed,
            ),
            progress=progress,
        )
    print(f"The base is in {out}, its record in {out / 'record.json'}.")


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Prepared pictures of one class.")],
    base: Annotated[Path, typer.Option(help="The base's folder.")],
    out: Annotated[Path, typer.Option(help="Where <class>.safetensors goes.")],
    class_name: Annotated[str | None, typer.Option("--class", help="By default the folder's name.")] = None,
    prompt: Annotated[str | None, typer.Option(help="By default the class's name.")] = None,
    origin: Annotated[str, typer.Option(help="photographs or phantom.")] = "photographs",
    pictures: Annotated[
        int | None, typer.Option(help="Source pictures before augmentation; by default what prepare recorded.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the pictures.")] = "not stated",
    attribution: Annotated[str, typer.Option(help="Whom to name.")] = "not stated",
    steps: Annotated[int, typer.Option(help="Training steps.")] = 400,
    batch_size: BatchSize = 16,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    layer_structure: Annotated[str, typer.Option(help="Widths as multiples of the dimension.")] = "1,2,1",
    seed: Seed = 0,
) -> None:
    """Train the hypernetwork of one class on a frozen base."""
    from trainer import fit as room
    from trainer.bases import prompt_of
    from trainer.hypernet import ORIGINS, ClassRecord, parse_structure
    from trainer.loop import LoopSettings
    from trainer.prepare import count_sources

    name = class_name or data.resolve().name
    if origin not in ORIGINS:
        raise RequestError(
            "--origin", found=origin, expected=f"one of {', '.join(ORIGINS)}", mend="choose one of these"
        )
    count = count_sources(data) if pictures is None else pictures
    record = ClassRecord(name, prompt or prompt_of(name), origin, count, licence, attribution)
    with _bar() as progress:
        room.fit(
            base,
            data,
            out,
            record=record,
            settings=LoopSettings(steps, batch_size, learning_rate, ema_decay=0.99, weight_decay=0, seed=seed),
            layer_structure=parse_structure(layer_structure),
            progress=progress,
        )
    print(f"The hypernetwork is {out / name}.safetensors, its record {out / name}.json.")


@app.command()
def merge(
    hypernetwork: Annotated[Path, typer.Argument(metavar="FILE", help="What fit wrote.")],
    out: Out,
    base: Annotated[Path, typer.Option(help="The base that it was trained on.")],
) -> None:
    """Fold a hypernetwork into the base's UNet: a diffusers folder that any diffusers program opens."""
    from trainer import merge as room

    room.merge(base, hypernetwork, out)
    print(f"The merged model is in {out}.")


@app.command()
def encoder(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Prepared folders of real classes.")],
    out: Annotated[Path, typer.Option("--out", help="The ONNX file; its record is written beside it.")],
    attribution: Annotated[str, typer.Option(help="Whom to name for the pictures.")],
    work: Annotated[Path, typer.Option(help="Where checkpoints go.")] = Path("work/encoder"),
    steps: Annotated[int, typer.Option(help="Training steps.")] = 1000,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
) -> None:
    """Train the small encoder whose features `evaluate` uses."""
    from trainer.encoder import train_encoder

    with _bar() as progress:
        record = train_encoder(
            data,
            out,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            attribution=attribution,
            work=work,
            progress=progress,
        )
    print(f"{out}: accuracy {record['validation_accuracy']:.3f} on {record['validation_pictures']} pictures kept back.")


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    # What transformers says while it is imported and reads a folder is no news to this program's users.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


@contextmanager
def _bar() -> Iterator[Callable[..., None]]:
    """Progress on stderr, (task, done, total, loss): a bar on a terminal, a line every twentieth part elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int, loss: float | None = None) -> None:
            words = name if loss is None else f"{name}, loss {loss:.4f}"
            if not console.is_terminal:
                if done * 20 // total > (done - 1) * 20 // total:
                    print(f"{words}, {done}/{total}", file=sys.stderr, flush=True)
                return
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total, description=words)

        yield update
