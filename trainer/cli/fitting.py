"""The commands that train a class: fit and embed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import RequestError
from engine.terminal import stopped_by_signals
from trainer.cli.options import BaseName, BatchSize, Device, Seed, Tokenizer, progress_bar

__all__ = ["embed", "fit"]

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Prepared pictures of one class.")]
ClassName = Annotated[str | None, typer.Option("--class", help="By default the folder's name.")]
Origin = Annotated[str, typer.Option(help="photographs or phantom.")]
Pictures = Annotated[
    int | None, typer.Option(help="Source pictures before augmentation; by default what prepare recorded.")
]
Licence = Annotated[str, typer.Option(help="Licence of the pictures.")]
Attribution = Annotated[str, typer.Option(help="Whom to name.")]
Steps = Annotated[int, typer.Option(help="Training steps.")]
Rate = Annotated[str, typer.Option(help="A rate, or rate:step,... as in 1e-4:500,1e-5.")]
Scheduler = Annotated[str, typer.Option(help="constant, which keeps to --learning-rate, or cosine to 5 % of it.")]
Warmup = Annotated[int, typer.Option(help="Steps of linear warm-up, for cosine.")]
Accumulation = Annotated[int, typer.Option(help="Batches a step.")]
Clipping = Annotated[str, typer.Option(help="off, value or norm.")]
ClipAt = Annotated[str, typer.Option(help="The limit, or limit:step,...")]
WeightDecay = Annotated[float, typer.Option(help="AdamW's.")]
Ema = Annotated[float, typer.Option(help="Decay of a moving average of the weights; 0 is none.")]
LatentSampling = Annotated[str, typer.Option(help="once, deterministic or random.")]
Symmetries = Annotated[bool, typer.Option(help="Every picture in the eight symmetries of the square.")]
SnrGamma = Annotated[float | None, typer.Option(help="Min-SNR weighting of the loss; by default none.")]
Template = Annotated[Path | None, typer.Option(help="Prompts, one a line, with [name] and [filewords].")]
ShuffleTags = Annotated[bool, typer.Option(help="Shuffle the prompt's parts between commas.")]
TagDropout = Annotated[float, typer.Option(help="Probability of dropping such a part.")]
AlphaWeight = Annotated[bool, typer.Option(help="The pictures' alpha channel weighs the loss.")]
SaveEvery = Annotated[int | None, typer.Option(help="Keep the weights every so many steps, in OUT/steps.")]
PreviewEvery = Annotated[int | None, typer.Option(help="Draw pictures every so many steps, in OUT/previews.")]
TensorBoard = Annotated[bool, typer.Option(help="Write OUT/tensorboard.")]
Usd = Annotated[float | None, typer.Option(help="The machine's price, for the record.")]
Precision = Annotated[str, typer.Option(help="Of the frozen base: auto, f32 or bf16; auto is f32 on a CPU.")]
Checkpointing = Annotated[bool, typer.Option(help="Less memory, more time.")]
Compiled = Annotated[
    bool, typer.Option("--compile", help="torch.compile: a minute or two at first, then faster steps.")
]
WebUI = Annotated[bool, typer.Option("--webui", help="Also write AUTOMATIC1111's .pt (and .pt.optim).")]
Resume = Annotated[bool, typer.Option(help="Go on from the last checkpoint, if there is one.")]
Overwrite = Annotated[bool, typer.Option(help="Replace a training that stands there.")]


@dataclass(frozen=True)
class _Asked:
    """What fit and embed have in common, checked."""

    record: Any
    settings: Any
    options: Any
    compute: Any
    log: Any


def _asked(given: dict[str, Any]) -> _Asked:
    """From a command's arguments by name. Raises RequestError."""
    from trainer.base.base import prompt_of
    from trainer.base.prompts import read_templates
    from trainer.fitting.material import FitOptions
    from trainer.pictures.prepare import count_sources
    from trainer.training.devices import choose_compute
    from trainer.training.loop import LoopSettings
    from trainer.training.progress import TrainingLog
    from trainer.training.record import ClassRecord
    from trainer.training.schedule import Cosine, parse_steps

    rate: Any = parse_steps("--learning-rate", given["learning_rate"])
    if given["lr_scheduler"] not in ("constant", "cosine"):
        raise RequestError(
            "--lr-scheduler", found=given["lr_scheduler"], expected="constant or cosine", fix="choose one"
        )
    if given["lr_scheduler"] == "cosine":
        if len(rate.pairs) > 1 or given["lr_warmup_steps"] < 0:
            raise RequestError(
                "--lr-scheduler cosine",
                found=f"--learning-rate {given['learning_rate']}, warm-up {given['lr_warmup_steps']}",
                expected="a single rate, and warm-up steps of at least 0",
                fix="change one of them",
            )
        rate = Cosine(rate.pairs[0][0], max(1, given["lr_warmup_steps"]))
    settings = LoopSettings(
        given["steps"],
        given["batch_size"],
        rate,
        given["weight_decay"],
        given["gradient_accumulation"],
        given["clipping"],
        parse_steps("--clip-at", given["clip_at"]),
        given["ema_decay"],
        given["seed"],
    )
    options = FitOptions(
        given["latent_sampling"],
        given["symmetries"],
        given["snr_gamma"],
        None if given["template"] is None else read_templates(given["template"]),
        given["shuffle_tags"],
        given["tag_dropout"],
        given["alpha_weight"],
    )
    data = given["data"]
    name = given["class_name"] or data.resolve().name
    count = count_sources(data) if given["pictures"] is None else given["pictures"]
    record = ClassRecord(
        name, given.get("prompt") or prompt_of(name), given["origin"], count, given["licence"], given["attribution"]
    )
    compute = choose_compute(
        given["device"],
        given["precision"],
        gradient_checkpointing=given["gradient_checkpointing"],
        compiled=given["compiled"],
    )
    log = TrainingLog(given["save_every"], given["preview_every"], given["tensorboard"], given["usd_per_hour"])
    return _Asked(record, settings, options, compute, log)


def _ended(facts: dict[str, Any], what: str, path: Path) -> None:
    run = facts["training"]
    rate = f"{run['steps_done']} steps, {run['seconds']:.0f} s, {1 / max(run['seconds_per_step'], 1e-9):.2f} a second"
    print(f"{what} is {path}, its record {path.with_suffix('.json')} ({rate}).")
    if run["steps_done"] < run["steps"]:
        print(f"Stopped at step {run['steps_done']} of {run['steps']}; the same command with --resume goes on.")
        sys.exit(1)


def fit(
    data: Data,
    base: BaseName,
    out: Annotated[Path, typer.Option(help="Where <class>.safetensors goes.")],
    tokenizer: Tokenizer = None,
    class_name: ClassName = None,
    prompt: Annotated[str | None, typer.Option(help="By default the class's name.")] = None,
    origin: Origin = "photographs",
    pictures: Pictures = None,
    licence: Licence = "not stated",
    attribution: Attribution = "not stated",
    steps: Steps = 20_000,
    batch_size: BatchSize = 1,
    learning_rate: Rate = "1e-5",
    lr_scheduler: Scheduler = "constant",
    lr_warmup_steps: Warmup = 50,
    gradient_accumulation: Accumulation = 1,
    clipping: Clipping = "off",
    clip_at: ClipAt = "0.1",
    weight_decay: WeightDecay = 0.01,
    ema_decay: Ema = 0.0,
    dimensions: Annotated[str | None, typer.Option(help="Such as 320,768; by default all of the base's.")] = None,
    layer_structure: Annotated[str, typer.Option(help="Widths as multiples of the dimension.")] = "1,2,1",
    activation: Annotated[str, typer.Option(help="linear, or a name of the WebUI's.")] = "linear",
    weight_init: Annotated[str, typer.Option(help="normal, xavieruniform, kaimingnormal, ...")] = "normal",
    layer_norm: Annotated[bool, typer.Option(help="LayerNorm behind every layer.")] = False,
    activate_output: Annotated[bool, typer.Option(help="The activation behind the last layer too.")] = False,
    dropout_structure: Annotated[str | None, typer.Option(help="A probability a width, such as 0,0.05,0.")] = None,
    last_layer_dropout: Annotated[bool, typer.Option(help="The last of them may be above 0.")] = False,
    latent_sampling: LatentSampling = "once",
    symmetries: Symmetries = False,
    snr_gamma: SnrGamma = None,
    template: Template = None,
    shuffle_tags: ShuffleTags = False,
    tag_dropout: TagDropout = 0.0,
    alpha_weight: AlphaWeight = False,
    save_every: SaveEvery = None,
    preview_every: PreviewEvery = None,
    tensorboard: TensorBoard = False,
    usd_per_hour: Usd = None,
    device: Device = "auto",
    precision: Precision = "auto",
    gradient_checkpointing: Checkpointing = False,
    compiled: Compiled = False,
    webui: WebUI = False,
    start_from: Annotated[Path | None, typer.Option(help="A hypernetwork to go on from, .safetensors or .pt.")] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Train the hypernetwork of one class on a frozen base. The defaults are the thesis's run on Stable Diffusion."""
    from trainer.base.base import open_base
    from trainer.fitting import fit as room
    from trainer.hypernetwork.structure import HypernetworkSettings, parse_dimensions, parse_numbers

    asked = _asked(locals())
    structure = HypernetworkSettings(
        parse_numbers("--layer-structure", layer_structure),
        activation.lower(),
        weight_init.lower(),
        layer_norm,
        activate_output,
        None if dropout_structure is None else parse_numbers("--dropout-structure", dropout_structure),
        last_layer_dropout,
    )
    chosen = None if dimensions is None else parse_dimensions(dimensions)
    with progress_bar() as progress, stopped_by_signals() as stop:
        facts = room.fit(
            open_base(base, tokenizer),
            data,
            out,
            record=asked.record,
            settings=asked.settings,
            structure=structure,
            dimensions=chosen,
            options=asked.options,
            compute=asked.compute,
            log=asked.log,
            start_from=start_from,
            resume=resume,
            overwrite=overwrite,
            webui=webui,
            stop=stop,
            progress=progress,
        )
    _ended(facts, "The hypernetwork", out / f"{asked.record.class_name}.safetensors")


def embed(
    data: Data,
    base: BaseName,
    out: Annotated[Path, typer.Option(help="Where <class>.safetensors goes.")],
    tokenizer: Tokenizer = None,
    class_name: ClassName = None,
    origin: Origin = "photographs",
    pictures: Pictures = None,
    licence: Licence = "not stated",
    attribution: Attribution = "not stated",
    vectors: Annotated[int, typer.Option(help="Tokens of the new word.")] = 1,
    initial_text: Annotated[str, typer.Option(help="Words that they begin as.")] = "*",
    steps: Steps = 20_000,
    batch_size: BatchSize = 1,
    learning_rate: Rate = "0.005",
    lr_scheduler: Scheduler = "constant",
    lr_warmup_steps: Warmup = 50,
    gradient_accumulation: Accumulation = 1,
    clipping: Clipping = "off",
    clip_at: ClipAt = "0.1",
    weight_decay: WeightDecay = 0.0,
    ema_decay: Ema = 0.0,
    latent_sampling: LatentSampling = "once",
    symmetries: Symmetries = False,
    snr_gamma: SnrGamma = None,
    template: Template = None,
    shuffle_tags: ShuffleTags = False,
    tag_dropout: TagDropout = 0.0,
    alpha_weight: AlphaWeight = False,
    save_every: SaveEvery = None,
    preview_every: PreviewEvery = None,
    tensorboard: TensorBoard = False,
    usd_per_hour: Usd = None,
    device: Device = "auto",
    precision: Precision = "auto",
    gradient_checkpointing: Checkpointing = False,
    compiled: Compiled = False,
    webui: WebUI = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Textual inversion: train new words for a class on a frozen base."""
    from trainer.base.base import open_base
    from trainer.fitting import embed as room

    asked = _asked(locals())
    with progress_bar() as progress, stopped_by_signals() as stop:
        facts = room.embed(
            open_base(base, tokenizer),
            data,
            out,
            record=asked.record,
            settings=asked.settings,
            vectors=vectors,
            initial_text=initial_text,
            options=asked.options,
            compute=asked.compute,
            log=asked.log,
            resume=resume,
            overwrite=overwrite,
            webui=webui,
            stop=stop,
            progress=progress,
        )
    _ended(facts, f"The embedding, in prompts {facts['words']},", out / f"{asked.record.class_name}.safetensors")
