"""What a command leaves behind for the report: a folder with record.json and the pictures that it names.

A record holds `kind`, `title`, `command`, `inputs` (folder, pictures, side, sha256, and what metadata.jsonl says of
synthetic ones), `results`, `definitions`, `warnings`, `images` (file, caption, whether real pictures show), `versions`.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from engine.errors import CytosynthError, RequestError, first_line
from engine.files import write_json, write_text
from evaluate.images import PictureFolder

__all__ = [
    "NAME",
    "Picture",
    "check_out",
    "describe_folder",
    "make_record",
    "metadata_of",
    "read_record",
    "write_record",
]

NAME = "record.json"
KEYS = {
    "kind": str,
    "title": str,
    "command": str,
    "inputs": dict,
    "results": dict,
    "definitions": dict,
    "warnings": list,
    "images": list,
    "versions": dict,
}
LIBRARIES = ("cytosynth", "numpy", "scipy", "scikit-image", "openvino", "pillow")
MADE_BY = (
    "class",
    "bundle",
    "bundle_sha256",
    "sampler",
    "schedule",
    "steps",
    "guidance_scale",
    "plan_sha256",
    "backend",
    "precision",
    "batch_size",
    "trained_on",
    "licence",
    "attribution",
)


@dataclass(frozen=True)
class Picture:
    """An image of a record. `real`: whether it shows real pictures, which a report may have to leave out."""

    image: Image.Image
    caption: str
    real: bool = False


def describe_folder(folder: PictureFolder) -> dict[str, Any]:
    """Where pictures came from: path, number, side, hash; of synthetic ones also what made them."""
    found: dict[str, Any] = {
        "folder": str(folder.path),
        "pictures": len(folder),
        "side": folder.side,
        "sha256": folder.sha256,
    }
    rows = list(metadata_of(folder).values())
    if rows:
        made_by = {key: sorted({json.dumps(row.get(key)) for row in rows}) for key in MADE_BY}
        found["made_by"] = {
            key: json.loads(values[0]) if len(values) == 1 else f"{len(values)} different"
            for key, values in made_by.items()
            if values != ["null"]
        }
        seeds = [row["seed"] for row in rows if isinstance(row.get("seed"), int)]
        if seeds:
            found["made_by"]["seeds"] = f"{min(seeds)} to {max(seeds)}"
    return found


def metadata_of(folder: PictureFolder) -> dict[str, dict[str, Any]]:
    """What the metadata.jsonl of `engine generate` says of each file, by the file's name; empty without one."""
    metadata = folder.path.resolve().parent / "metadata.jsonl"
    if not metadata.is_file():
        return {}
    names = {f"{folder.path.resolve().name}/{path.name}": path.name for path in folder.files}
    try:
        rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The record {metadata}",
            found=first_line(error),
            expected="one JSON object a line, as `engine generate` writes",
            fix="run the same `engine generate` command again, or take the file away",
        ) from error
    # Other programs write such files too, with other keys.
    ours = (row for row in rows if isinstance(row, dict) and row.get("synthetic") is True)
    return {names[name]: row for row in ours if (name := row.get("file_name")) in names}


def make_record(
    kind: str,
    title: str,
    *,
    inputs: dict[str, Any],
    results: dict[str, Any],
    definitions: dict[str, str],
    warnings: list[str],
    libraries: Iterable[str] = (),
) -> dict[str, Any]:
    """A record without images; the command is this process's own."""
    return {
        "kind": kind,
        "title": title,
        "command": shlex.join(["python", "-m", "evaluate", *sys.argv[1:]]),
        "inputs": inputs,
        "results": results,
        "definitions": definitions,
        "warnings": warnings,
        "images": [],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in (*LIBRARIES, *libraries)},
        },
    }


def check_out(out: Path | None, kind: str) -> None:
    """Raise RequestError unless `out` can be made, is empty, or holds a record of the same kind."""
    if out is None:
        return
    parent = next(one for one in (out, *out.absolute().parents) if one.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise RequestError(
            f"The folder {out}",
            found=f"{parent} is no folder that can be written to",
            expected="a place for a new folder",
            fix="name another",
        )
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / NAME).is_file() or read_record(out)["kind"] != kind:
        raise RequestError(
            f"The folder {out}",
            found="other files",
            expected=f"a new folder, or one with an older record of `{kind}`",
            fix="name another folder",
        )


def write_record(out: Path, record: dict[str, Any], pictures: dict[str, Picture], lists: dict[str, str]) -> None:
    """Write the images as <name>.png, lists under their names, and record.json; a kill leaves no half of a new record.
    Raises CytosynthError where the disk refuses."""
    images = [
        {"file": f"{name}.png", "caption": picture.caption, "real": picture.real} for name, picture in pictures.items()
    ]
    part = out.with_name(out.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, picture in pictures.items():
            picture.image.save(part / f"{name}.png", optimize=True)
        for name, text in lists.items():
            write_text(part / name, text)
        write_json(part / NAME, {**record, "images": images})
        if out.exists():
            for file in part.iterdir():
                file.replace(out / file.name)
            part.rmdir()
        else:
            part.rename(out)
    except OSError as error:
        raise CytosynthError(
            f"The record {out}", found=first_line(error), expected="a folder that can be written to", fix="make room"
        ) from error


def read_record(folder: Path) -> dict[str, Any]:
    """Read a record. Raises RequestError for another file, or an image that is not a file of that folder."""
    path = folder / NAME

    def problem(found: str) -> RequestError:
        return RequestError(
            f"The record {path}",
            found=found,
            expected="what `python -m evaluate` writes with --out",
            fix="name that folder",
        )

    if not path.is_file():
        inner = [str(folder / one.parent.name) for one in sorted(folder.glob(f"*/{NAME}"))]
        if inner:
            raise problem(f"no such file, but records in {', '.join(inner)}")
        raise problem("no such file" if folder.is_dir() else "no such folder")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise problem(str(error)) from error
    if not isinstance(record, dict) or (missing := [key for key in KEYS if not isinstance(record.get(key), KEYS[key])]):
        raise problem("no record" if not isinstance(record, dict) else f"no {', '.join(missing)}, or of another type")
    for image in record["images"]:
        name = str(image.get("file")) if isinstance(image, dict) else str(image)
        if name != PurePosixPath(name).name or not (folder / name).is_file():
            raise problem(f"the image {name}, which is no file in that folder")
    return record
