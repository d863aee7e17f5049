"""The HTML report: several records in one file that needs no other file and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from engine.errors import RequestError
from evaluate.report.records import NAME, Record, read_record
from evaluate.report.tables import Summary, summarise

__all__ = ["make_environment", "render_report"]

ORDER = ("probe", "score", "morphology", "copies", "judge", "utility", "curve")
"""Whether the pictures can be told from real ones at all is what a reader should know first."""


def render_report(folders: Sequence[Path], title: str, note: str = "", *, real_pictures: bool = True) -> str:
    """Return the HTML report of several records, by kind in the order of ORDER, and within a kind as given.

    note: a sentence under the title. real_pictures: False leaves out the images that show real pictures, and says so.
    Raises RequestError for a folder without a record.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    pairs = [(folder, read_record(folder)) for folder in folders]
    pairs.sort(key=lambda pair: ORDER.index(pair[1].kind))
    definitions: dict[str, dict[str, str]] = {}
    for _, record in pairs:
        definitions.setdefault(record.kind, {}).update(record.definitions)
    environment = make_environment()
    parts, contents = [], []
    for folder, record in pairs:
        try:
            summary = summarise(record)
            parts.append(_part(environment, folder, record, summary, real_pictures))
            contents.append((record.title, summary.verdict))
        except (KeyError, OSError, ValueError) as error:
            raise RequestError(
                f"The record {folder / NAME}",
                found=f"{type(error).__name__}: {error}",
                expected="a record that this version of `python -m evaluate` wrote with --out",
                fix=f"make it again: {record.command}",
            ) from error
    return environment.get_template("report.html").render(
        title=title,
        note=note,
        contents=contents,
        parts=parts,
        definitions=definitions,
    )


def make_environment() -> Environment:
    """Return the environment of the templates in this folder, which escapes every text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment


def _part(environment: Environment, folder: Path, record: Record, summary: Summary, real_pictures: bool) -> Markup:
    images = [
        {
            "caption": image.caption,
            "source": _embedded(folder / image.file) if real_pictures or not image.real else None,
        }
        for image in record.images
    ]
    template = environment.get_template("section.html")
    return Markup(template.render(record=record, summary=summary, images=images))  # noqa: S704 - escaped by jinja2


def _embedded(path: Path) -> str:
    """Return an image as a data URL: as JPEG if that halves the size, which it does for pictures, else as PNG."""
    image = Image.open(path).convert("RGB")
    options: list[tuple[str, dict[str, Any]]] = [("png", {"optimize": True}), ("jpeg", {"quality": 88})]
    coded = {}
    for kind, settings in options:
        buffer = io.BytesIO()
        image.save(buffer, kind, **settings)
        coded[kind] = buffer.getvalue()
    kind = "jpeg" if len(coded["jpeg"]) < len(coded["png"]) / 2 else "png"
    return f"data:image/{kind};base64,{base64.b64encode(coded[kind]).decode()}"
