"""The commands `distill`, `match`, `refine`, `shrink` and `match-decoder`: few steps, and what follows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import RequestError
from engine.locks import locked_folder_of
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.options import Without, with_options
from engine.terminal import stopped_by_signals
from trainer.cli.options import exit_if_stopped, print_errors, progress_bar
from trainer.distillation.settings import (
    DistillSettings,
    MatchDecoderSettings,
    MatchSettings,
    RefineSettings,
    ShrinkSettings,
)
from trainer.tables.settings import TeacherSettings
from trainer.training.outputs import Outputs, OutputSettings
from trainer.training.settings import Hardware

__all__ = ["distill", "match", "match_decoder", "refine", "shrink"]

REFINER = "refiner"
"""Name of the refiner's files, as base folders have it."""
SMALL_DECODER = "small_decoder"
"""Name of the small decoder's files."""


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
    from trainer.distillation.distill import distill as train
    from trainer.tables.subjects import open_subjects
    from trainer.tables.teacher import FollowRequest
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
        found = train(subjects, FollowRequest(outputs, teacher, settings, compute, stop, progress))
    run = found["training"]
    print(f"The LoRA: {outputs.weights}; its table: {outputs.record}")
    print(f"{found['evaluations']} UNet evaluations per picture; the teacher has {found['evaluations_of_the_teacher']}")
    print_errors(found)
    exit_if_stopped(run["steps_done"], run["steps"])


@with_options
def match(
    distilled: Annotated[
        Path, typer.Argument(metavar="LORA", help="NAME.safetensors of distill, NAME.json beside it.")
    ],
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    photographs: Annotated[
        Path,
        typer.Option(help="Prepared photographs: a folder per class, named as the class.", rich_help_panel="Input"),
    ],
    out: Annotated[Path, typer.Option(help="Folder for NAME.safetensors and NAME.json.", rich_help_panel="Output")],
    settings: MatchSettings,
    hardware: Annotated[Hardware, Without("gradient_checkpointing", "compiled")],
    output: Annotated[OutputSettings, Without("webui")],
    decoder: Annotated[
        Path | None,
        typer.Option(
            metavar="SMALL_DECODER",
            help="Small decoder of the preset, a file of shrink (default: the VAE's decoder).",
            rich_help_panel="Input",
        ),
    ] = None,
) -> None:
    """Train a distilled LoRA further, until the features of its pictures are those of photographs.

    A class without photographs keeps its pictures. Afterwards, merge the new LoRA and put it into a bundle, as after
    distill.
    """
    from trainer.base.small_decoder import expect_fitting, read_small_decoder
    from trainer.distillation.class_features import expect_classes
    from trainer.distillation.distilled import Distilled
    from trainer.distillation.match import MatchRequest
    from trainer.distillation.match import match as train
    from trainer.pictures.dataset import read_set
    from trainer.tables.subjects import open_subjects
    from trainer.training.devices import choose_compute

    outputs = Outputs(out, distilled.stem)
    if out.resolve() == distilled.resolve().parent:
        raise RequestError("--out", found="the folder of LORA", expected="another folder", fix="choose another folder")
    outputs.check(output)
    compute = choose_compute(hardware)
    small = None if decoder is None else read_small_decoder(decoder)
    data = read_set([photographs])
    if settings.class_weight:
        expect_classes(data)
    with progress_bar() as progress, stopped_by_signals() as stop, locked_folder_of(outputs.record):
        subjects = open_subjects(merged)
        known = Distilled.read(distilled, subjects[0].base.noise)
        if small is not None and decoder is not None:
            expect_fitting(small, subjects[0].base.vae, decoder)
        if output.overwrite:
            outputs.remove()
        request = MatchRequest(outputs, known, settings, compute, small, stop, progress)
        found = train(subjects, data, request)["matching"]
    run = found["training"]
    print(f"The LoRA: {outputs.weights}; its table: {outputs.record}")
    _print_distances({"": found["distances_before"]}, {"": found["distances"]})
    exit_if_stopped(run["steps_done"], run["steps"])


@with_options
def refine(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    photographs: Annotated[
        Path,
        typer.Option(help="Prepared photographs: a folder per class, named as the class.", rich_help_panel="Input"),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for refiner.safetensors and refiner.json.", rich_help_panel="Output")
    ],
    teacher: TeacherSettings,
    settings: RefineSettings,
    hardware: Annotated[Hardware, Without("gradient_checkpointing", "compiled")],
    output: Annotated[OutputSettings, Without("webui")],
    few_steps: Annotated[
        Path | None,
        typer.Option(
            metavar="LORA",
            help="NAME.safetensors of distill or match, NAME.json beside it: refine its pictures, too.",
            rich_help_panel="Input",
        ),
    ] = None,
) -> None:
    """Train the refiner further, until the grain of drawn pictures has the statistics of photographs.

    Of a class without photographs it keeps the grain. Afterwards, copy refiner.safetensors into the base and all merged
    folders, and export the bundle: the pictures of all settings and presets change.
    """
    from trainer.base.jpeg import jpeg_of
    from trainer.distillation.distilled import Distilled
    from trainer.distillation.refine import RefineRequest
    from trainer.distillation.refine import refine as train
    from trainer.pictures.dataset import read_set
    from trainer.pictures.prepare import crop_of
    from trainer.tables.subjects import open_subjects
    from trainer.training.devices import choose_compute

    outputs = Outputs(out, REFINER)
    outputs.check(output)
    compute = choose_compute(hardware)
    data = read_set([photographs])
    jpeg = None if settings.stored_as is None else jpeg_of(settings.stored_as, data.size, crop_of([photographs]))
    with progress_bar() as progress, stopped_by_signals() as stop, locked_folder_of(outputs.record):
        subjects = open_subjects(merged)
        known = None if few_steps is None else Distilled.read(few_steps, subjects[0].base.noise)
        if output.overwrite:
            outputs.remove()
        found = train(subjects, data, RefineRequest(outputs, teacher, known, settings, compute, jpeg, stop, progress))
    run = found["training"]
    print(f"The refiner: {outputs.weights}; its record: {outputs.record}")
    _print_distances(found["distances_before"], found["distances"])
    exit_if_stopped(run["steps_done"], run["steps"])


@with_options
def shrink(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for small_decoder.safetensors and small_decoder.json.", rich_help_panel="Output"),
    ],
    teacher: TeacherSettings,
    settings: ShrinkSettings,
    hardware: Annotated[Hardware, Without("gradient_checkpointing", "compiled")],
    output: Annotated[OutputSettings, Without("webui")],
    photographs: Annotated[
        Path | None,
        typer.Option(
            help="Prepared photographs, whose reconstructions are learnt, too: a folder per class, named as the class.",
            rich_help_panel="Input",
        ),
    ] = None,
    few_steps: Annotated[
        Path | None,
        typer.Option(
            metavar="LORA",
            help="NAME.safetensors of distill or match, NAME.json beside it: learn its pictures, too.",
            rich_help_panel="Input",
        ),
    ] = None,
) -> None:
    """Train a small decoder that draws what the VAE's decoder draws, with fewer operations.

    Only a preset of a bundle uses it, after `python -m exporter preset` with --decoder. The other settings of the
    bundle keep their decoder.
    """
    from trainer.distillation.distilled import Distilled
    from trainer.distillation.shrink import ShrinkRequest
    from trainer.distillation.shrink import shrink as train
    from trainer.pictures.dataset import read_set
    from trainer.tables.subjects import open_subjects
    from trainer.training.devices import choose_compute

    outputs = Outputs(out, SMALL_DECODER)
    outputs.check(output)
    compute = choose_compute(hardware)
    data = None if photographs is None else read_set([photographs])
    with progress_bar() as progress, stopped_by_signals() as stop, locked_folder_of(outputs.record):
        subjects = open_subjects(merged)
        known = None if few_steps is None else Distilled.read(few_steps, subjects[0].base.noise)
        if output.overwrite:
            outputs.remove()
        found = train(subjects, data, ShrinkRequest(outputs, teacher, known, settings, compute, stop, progress))
    run = found["training"]
    print(f"The small decoder: {outputs.weights}; its record: {outputs.record}")
    print("PSNR in dB against the VAE's decoder, of pictures that were kept back:")
    for way, classes in found["psnr_db"].items():
        for name, value in classes.items():
            print(f"  {way}, {name}: {value:.2f}")
    exit_if_stopped(run["steps_done"], run["steps"])
    print(f"To use it in a preset: python -m exporter preset BUNDLE NAME ... --decoder {outputs.weights}")


@with_options
def match_decoder(
    decoder: Annotated[
        Path, typer.Argument(metavar="SMALL_DECODER", help="small_decoder.safetensors of shrink, its .json beside it.")
    ],
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that merge wrote, of one base.")],
    photographs: Annotated[
        Path,
        typer.Option(help="Prepared photographs: a folder per class, named as the class.", rich_help_panel="Input"),
    ],
    few_steps: Annotated[
        Path,
        typer.Option(
            metavar="LORA",
            help="NAME.safetensors of distill or match, NAME.json beside it, of the preset that uses the decoder.",
            rich_help_panel="Input",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for small_decoder.safetensors and small_decoder.json.", rich_help_panel="Output"),
    ],
    settings: MatchDecoderSettings,
    hardware: Annotated[Hardware, Without("gradient_checkpointing", "compiled")],
    output: Annotated[OutputSettings, Without("webui")],
) -> None:
    """Train a small decoder further, until its refined pictures have the statistics of photographs.

    Of a class without photographs its pictures stay those of the VAE's decoder. Afterwards, put the new decoder into a
    preset, as after shrink.
    """
    from trainer.base.small_decoder import expect_fitting, read_small_decoder
    from trainer.distillation.distilled import Distilled
    from trainer.distillation.match_decoder import MatchDecoderRequest
    from trainer.distillation.match_decoder import match_decoder as train
    from trainer.pictures.dataset import read_set
    from trainer.tables.subjects import open_subjects
    from trainer.training.devices import choose_compute
    from trainer.training.record import read_record

    outputs = Outputs(out, SMALL_DECODER)
    if out.resolve() == decoder.resolve().parent:
        raise RequestError(
            "--out", found="the folder of SMALL_DECODER", expected="another folder", fix="choose another folder"
        )
    outputs.check(output)
    compute = choose_compute(hardware)
    small, trained = read_small_decoder(decoder), read_record(decoder.with_suffix(".json"))
    data = read_set([photographs])
    with progress_bar() as progress, stopped_by_signals() as stop, locked_folder_of(outputs.record):
        subjects = open_subjects(merged)
        expect_fitting(small, subjects[0].base.vae, decoder)
        known = Distilled.read(few_steps, subjects[0].base.noise)
        if output.overwrite:
            outputs.remove()
        request = MatchDecoderRequest(outputs, small, known, settings, compute, trained, stop, progress)
        found = train(subjects, data, request)["matching"]
    run = found["training"]
    print(f"The small decoder: {outputs.weights}; its record: {outputs.record}")
    _print_distances({"": found["distances_before"]}, {"": found["distances"]})
    exit_if_stopped(run["steps_done"], run["steps"])
    print(f"To use it in a preset: python -m exporter preset BUNDLE NAME ... --decoder {outputs.weights}")


def _print_distances(before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]) -> None:
    """Print energy distances by way of drawing and by class. A single way needs no name."""
    print("Energy distance from photographs that were kept back, before and after:")
    for way, classes in before.items():
        for name, distance in classes.items():
            print(f"  {way and way + ', '}{name}: {distance:.4f} {after[way][name]:.4f}")
