"""The commands about files: merge, convert, inspect."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import RequestError

__all__ = ["convert", "inspect", "merge"]

ClassName = Annotated[str | None, typer.Option("--class", help="In place of the record's; a .pt has none.")]
Prompt = Annotated[str | None, typer.Option(help="In place of the record's.")]
Origin = Annotated[str | None, typer.Option(help="photographs or phantom.")]
Pictures = Annotated[int | None, typer.Option(help="Source pictures of the class.")]
Licence = Annotated[str | None, typer.Option(help="Licence of the pictures.")]
Attribution = Annotated[str | None, typer.Option(help="Whom to name.")]


def merge(
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    base: Annotated[str, typer.Option(help="The base that they were trained on.")],
    hypernetwork: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Hypernetworks, in their order.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="CLIP's vocabulary, for a single file.")] = None,
    multiplier: Annotated[
        list[float] | None, typer.Option(help="One for each file, in their order; by default 1.")
    ] = None,
    latents_gain: Annotated[
        float,
        typer.Option(help="What the decoder gets is this times what is drawn; one for a whole bundle."),
    ] = 1.0,
    signal_leak: Annotated[
        Path | None,
        typer.Option(help="Prepared pictures of the class: its first latents show their mean and coarse spread."),
    ] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="Words that embed trained; may be repeated.")] = None,
    class_name: ClassName = None,
    prompt: Prompt = None,
    origin: Origin = None,
    pictures: Pictures = None,
    licence: Licence = None,
    attribution: Attribution = None,
) -> None:
    """Put hypernetworks into the base's UNet, exactly: a diffusers folder. Says which way each module went. Without a
    hypernetwork it is the base itself, under the name and prompt of a class that it knows."""
    from trainer.base.base import open_base
    from trainer.hypernetwork import merge as room
    from trainer.hypernetwork.embeddings import add_words, read_embedding
    from trainer.hypernetwork.files import read_hypernetwork

    paths = hypernetwork or []
    if not paths and not embedding and None in (class_name, origin, pictures):
        raise RequestError(
            "merge",
            found="no hypernetwork and no --embedding",
            expected="one of them, or --class, --origin and --pictures of a class that the base knows by itself",
            fix="name a file, or say these three",
        )
    multipliers = multiplier or [1.0] * len(paths)
    if len(multipliers) != len(paths):
        raise RequestError(
            "--multiplier",
            found=f"{len(multipliers)} for {len(paths)} files",
            expected="one for each file, or none",
            fix="repeat it for every file, in their order",
        )
    files = [read_hypernetwork(path) for path in paths]
    opened = open_base(base, tokenizer)
    embeddings = [read_embedding(path) for path in embedding or ()]
    for found in embeddings:
        add_words(opened, found)
    words = [found.prompt for found in embeddings]
    given = {
        "class_name": class_name,
        "prompt": prompt or (" ".join(words) if words else None),
        "origin": origin,
        "pictures": pictures,
        "licence": licence,
        "attribution": attribution,
    }
    record = _record((files or embeddings or [None])[-1], given)
    chain = list(zip(files, multipliers, strict=True))
    merged = room.merge(opened, chain, out, record, latents_gain=latents_gain, signal_leak=signal_leak)
    ways = Counter((way.hypernetwork, way.folded) for way in merged.ways)
    for (name, folded), count in ways.items():
        sides = ", ".join(
            f"{way.dimension} {way.side.upper()}"
            for way in merged.ways
            if (way.hypernetwork, way.folded) == (name, folded)
        )
        print(f"{name}: {count} modules {'folded into the weights' if folded else 'stay in the graph'} ({sides})")
    limit = room.LARGEST_DIFFERENCE
    print(f"Largest difference of the UNet's output before and after: {merged.largest_difference:.2g} (<= {limit:g}")
    print("of its largest value, or of 1 where that is less).")
    if any(not way.folded for way in merged.ways):
        print(f"Other programs open this folder without the modules in {room.RESIDUALS_FILE}; the exporter has them.")
    print(f"The merged model is in {out}.")


def _record(file: Any, given: dict[str, Any]) -> Any:
    """The class's record: the file's with what is given in its place, or one of what is given alone."""
    from trainer.base.base import prompt_of
    from trainer.training.record import ClassRecord

    given = {name: value for name, value in given.items() if value is not None}
    if file is not None and file.record is not None:
        return replace(file.record, **given)
    missing = [f"--{name}" for name in ("origin", "pictures") if name not in given]
    if missing:
        raise RequestError(
            f"The hypernetwork {file.name}",
            found="no record of its class in the file",
            expected="where its pictures came from, and how many",
            fix=f"say it with {', '.join(missing)} (and --licence, --attribution)",
        )
    name = given.get("class_name") or file.name
    return ClassRecord(**{"class_name": name, "prompt": prompt_of(name), **given})


def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help=".pt of AUTOMATIC1111, or .safetensors.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The other: its ending says which.")],
    class_name: ClassName = None,
    prompt: Prompt = None,
    origin: Origin = None,
    pictures: Pictures = None,
    licence: Licence = None,
    attribution: Attribution = None,
) -> None:
    """Turn a hypernetwork's file into the other format."""
    from engine.files import expect_folder_of
    from trainer.hypernetwork.files import read_hypernetwork, write_hypernetwork, write_webui

    if out.suffix not in (".pt", ".safetensors") or out.exists():
        raise RequestError(
            f"The file {out}",
            found="it is there already" if out.exists() else f"the ending {out.suffix or 'of no kind'}",
            expected="a new file that ends in .pt or .safetensors",
            fix="name another",
        )
    expect_folder_of(out)
    file = read_hypernetwork(source)
    if out.suffix == ".pt":
        write_webui(out, file)
    else:
        given = {
            "class_name": class_name,
            "prompt": prompt,
            "origin": origin,
            "pictures": pictures,
            "licence": licence,
            "attribution": attribution,
        }
        asked = any(value is not None for value in given.values())
        write_hypernetwork(out, replace(file, record=_record(file, given)) if asked else file)
    print(f"{out}: {file.name}, step {file.step}")


def inspect(file: Annotated[Path, typer.Argument(metavar="FILE", help="A hypernetwork or an embedding.")]) -> None:
    """Say what is in a file; nothing in it is run."""
    from trainer.hypernetwork.describe import describe

    for line in describe(file):
        print(line)
