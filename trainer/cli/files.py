"""The commands that work on files of weights: merge, convert, inspect."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import RequestError
from engine.options import with_options
from engine.terminal import warn
from trainer.cli.options import BaseSource, warn_of_misfits
from trainer.training.record import ClassSettings

if TYPE_CHECKING:
    from trainer.adapters.merge import Merged

__all__ = ["convert", "inspect", "merge"]


@with_options
def merge(
    out: Annotated[Path, typer.Option("--out", help="New folder for the merged model.")],
    source: BaseSource,
    record: ClassSettings,
    adapter: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="Hypernetworks and LoRAs, in the order in which they act."),
    ] = None,
    multiplier: Annotated[
        list[float] | None,
        typer.Option(help="Strength of an adapter; repeat the option for each file, in their order. Default: 1."),
    ] = None,
    latents_gain: Annotated[
        float,
        typer.Option(help="Factor on the drawn latents before they are decoded. Use one factor for a whole bundle."),
    ] = 1.0,
    signal_leak: Annotated[
        Path | None,
        typer.Option(help="Prepared pictures of the class. Sampling then starts at their mean and coarse spread."),
    ] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="File of new words from embed; may be repeated.")] = None,
) -> None:
    """Merge adapters into the base and write a diffusers folder: hypernetworks, LoRA, LoHa and LoKr, trained UNets.

    Without an adapter, the folder holds the base itself under the name and prompt of a class that the base knows.
    """
    from trainer.adapters.adapter import read_adapter
    from trainer.adapters.merge import earlier_merge
    from trainer.adapters.merge import merge as merge_files
    from trainer.hypernetwork.embeddings import add_words, read_embedding

    paths, multipliers = adapter or [], multiplier or [1.0] * len(adapter or [])
    if not paths and not embedding and None in (record.class_name, record.origin, record.pictures):
        raise RequestError(
            "merge",
            found="no adapter and no --embedding",
            expected="a file, or --class, --origin and --pictures of a class that the base knows by itself",
            fix="add a file, or give these three options",
        )
    if len(multipliers) != len(paths):
        raise RequestError(
            "--multiplier",
            found=f"{len(multipliers)} for {len(paths)} files",
            expected="one per file, or none",
            fix="repeat --multiplier for each file, in their order",
        )
    if wrong := [value for value in multipliers if not math.isfinite(value)]:
        raise RequestError("--multiplier", found=f"{wrong[0]:g}", expected="a finite number", fix="change the value")
    files = [read_adapter(path) for path in paths]
    before = earlier_merge(Path(source.base))
    base = source.open()
    embeddings = [read_embedding(path) for path in embedding or ()]
    for found in embeddings:
        add_words(base, found)
    if embeddings and not record.prompt:
        record = replace(record, prompt=" ".join(found.prompt for found in embeddings))
    # The record of the last adapter that has one, or else of the merged folder below; or of the last embedding.
    known = [(file.name, file.record) for file in sorted(files, key=lambda file: file.record is not None)]
    known = known or [(found.name, found.record) for found in embeddings]
    name, own_record = known[-1] if known else ("", None)
    class_record = record.changed(own_record or (before.record if paths else None), name)
    for words in base.read_prompt(class_record.prompt).warnings("The prompt of the class"):
        warn(words)
    if not embeddings:
        warn_of_misfits(base.card, class_record.prompt, signal_leak)
    chain = list(zip(files, multipliers, strict=True))
    merged = merge_files(
        base, chain, out, class_record, before=before, latents_gain=latents_gain, signal_leak=signal_leak
    )
    _report(merged, out)


def _report(merged: Merged, out: Path) -> None:
    """Print what became of each module, and how exact the merge is."""
    from trainer.adapters.merge import LARGEST_DIFFERENCE
    from trainer.hypernetwork.fold import RESIDUALS_FILE

    for sentence in merged.changed:
        print(sentence)
    ways = Counter((way.hypernetwork, way.folded) for way in merged.ways)
    for (name, folded), count in ways.items():
        sides = ", ".join(
            f"{way.dimension} {way.side.upper()}"
            for way in merged.ways
            if (way.hypernetwork, way.folded) == (name, folded)
        )
        print(f"{name}: {count} modules {'folded into the weights' if folded else 'stay in the graph'} ({sides})")
    print(f"Largest difference of a layer's output before and after: {merged.largest_difference:.2g}")
    print(f"(at most {LARGEST_DIFFERENCE:g}, relative to the layer's largest output, or to 1 if that is smaller)")
    if any(not way.folded for way in merged.ways):
        print(f"Other programs open this folder without the modules in {RESIDUALS_FILE}. The exporter includes them.")
    print(f"The merged model: {out}")


@with_options
def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Hypernetwork: .pt of the WebUI, or .safetensors.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="New file. The extension (.pt or .safetensors) selects the format.")
    ],
    record: ClassSettings,
) -> None:
    """Convert the file of a hypernetwork to the other format."""
    from engine.files import expect_folder_of
    from engine.locks import locked_folder_of
    from trainer.hypernetwork.files import read_hypernetwork, write_hypernetwork, write_webui

    if out.suffix.lower() not in (".pt", ".safetensors") or out.exists():
        raise RequestError(
            f"The file {out}",
            found="an existing file" if out.exists() else f"the extension {out.suffix or 'of no kind'}",
            expected="a new file with the extension .pt or .safetensors",
            fix="choose another file name",
        )
    expect_folder_of(out)
    file = read_hypernetwork(source)
    with locked_folder_of(out):
        if out.suffix.lower() == ".pt":
            write_webui(out, file)
        else:
            changed = file if not record.given() else replace(file, record=record.changed(file.record, file.name))
            write_hypernetwork(out, changed)
    print(f"{out}: {file.name}, step {file.step}")


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An adapter, an embedding, or any file of tensors.")],
) -> None:
    """Print what a file of weights contains. No code in the file is run."""
    from trainer.adapters.describe import describe

    for line in describe(file):
        print(line)
