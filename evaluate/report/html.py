"""`report`: records into one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup
from PIL import Image

from engine.errors import RequestError
from evaluate.report.records import NAME, read_record
from evaluate.report.tables import Summary, summarise

__all__ = ["render_report"]


def render_report(folders: Sequence[Path], title: str, note: str = "", *, real_pictures: bool = True) -> str:
    """The report of several records, in their order, as HTML; `note` is a sentence under the title.

    Without `real_pictures` the images that show real pictures are left out, and it says so. Raises RequestError for a
    folder that holds no record.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    records = [read_record(folder) for folder in folders]
    definitions: dict[str, dict[str, str]] = {}
    for record in records:
        definitions.setdefault(record["kind"], {}).update(record["definitions"])
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    parts, contents = [], []
    for folder, record in zip(folders, records, strict=True):
        try:
            summary = summarise(record)
            parts.append(_part(environment, folder, record, summary, real_pictures))
            contents.append((record["title"], summary.sentences))
        except (AttributeError, KeyError, OSError, TypeError, ValueError, UndefinedError) as error:
            raise RequestError(
                f"The record {folder / NAME}",
                found=f"{type(error).__name__}: {error}",
                expected="what this version of `python -m evaluate` writes with --out",
                fix=f"make it again: {record['command']}",
            ) from error
    return environment.get_template("report.html").render(
        title=title,
        note=note,
        contents=contents,
        parts=parts,
        definitions=definitions,
    )


def _part(
    environment: Environment, folder: Path, record: dict[str, Any], summary: Summary, real_pictures: bool
) -> Markup:
    images = [
        {
            "caption": image["caption"],
            "source": _embedded(folder / image["file"]) if real_pictures or not image["real"] else None,
        }
        for image in record["images"]
    ]
    template = environment.get_template("section.html")
    return Markup(template.render(record=record, summary=summary, images=images))  # noqa: S704 - escaped by it


def _embedded(path: Path) -> str:
    """A data URL: lossless, or JPEG where that is much smaller, as it is for pictures and is not for plots."""
    image = Image.open(path).convert("RGB")
    options: list[tuple[str, dict[str, Any]]] = [("png", {"optimize": True}), ("jpeg", {"quality": 88})]
    coded = {}
    for kind, settings in options:
        buffer = io.BytesIO()
        image.save(buffer, kind, **settings)
        coded[kind] = buffer.getvalue()
    kind = "jpeg" if len(coded["jpeg"]) < len(coded["png"]) / 2 else "png"
    return f"data:image/{kind};base64,{base64.b64encode(coded[kind]).decode()}"
