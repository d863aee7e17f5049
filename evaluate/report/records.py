"""Records on disk: a folder with record.json and the pictures that it names. The command `report` reads them.

record.json has the keys of `Record`. Its `results` are those of the record's kind, see RESULTS.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, get_type_hints

from PIL import Image

from engine.errors import CytosynthError, RequestError, first_line
from engine.files import contents_of, expect_place, write_json, write_text
from evaluate.report.inputs import Input
from evaluate.studies.copies import CopiesResults
from evaluate.studies.curve import CurveResults
from evaluate.studies.judge import Verdict
from evaluate.studies.morphology import Morphology
from evaluate.studies.probe import ProbeResults
from evaluate.studies.score import ScoreResults
from evaluate.studies.utility import Utility
from evaluate.typed_json import parse

__all__ = [
    "NAME",
    "Picture",
    "Record",
    "RecordImage",
    "check_out",
    "make_record",
    "read_record",
    "read_results",
    "write_record",
]

NAME = "record.json"
LIBRARIES = ("cytosynth", "numpy", "scipy", "scikit-image", "openvino", "pillow")

Kind = TypeVar("Kind")
Results = ScoreResults | ProbeResults | CopiesResults | Morphology | Utility | Verdict | CurveResults
RESULTS: dict[str, type[Results]] = {
    "score": ScoreResults,
    "probe": ProbeResults,
    "copies": CopiesResults,
    "morphology": Morphology,
    "utility": Utility,
    "judge": Verdict,
    "curve": CurveResults,
}
"""The dataclass of the results, by the kind of the record."""


@dataclass(frozen=True)
class Picture:
    """A picture that a record will hold."""

    image: Image.Image
    caption: str
    real: bool = False
    """Whether it shows real pictures. A report can leave these out."""


@dataclass(frozen=True)
class RecordImage:
    """A picture file in a record's folder."""

    file: str
    caption: str
    real: bool


@dataclass(frozen=True)
class Record:
    """What one command found, and everything needed to repeat it."""

    kind: str
    title: str
    command: str
    inputs: dict[str, Input]
    results: Results
    definitions: dict[str, str]
    """What each figure means, by its name."""
    warnings: list[str]
    images: list[RecordImage]
    versions: dict[str, str]
    """Version of Python and of each library."""

    def as_json(self) -> dict[str, Any]:
        """Return the content of record.json."""
        found = asdict(self)
        for folder in found["inputs"].values():
            if folder["made_by"] is None:
                del folder["made_by"]
        for declared in fields(self.results):
            # A result that is None by default is one that this record's command was not asked for.
            if declared.default is None and found["results"][declared.name] is None:
                del found["results"][declared.name]
        return found


def make_record(
    title: str,
    results: Results,
    *,
    inputs: Mapping[str, Input],
    definitions: Mapping[str, str],
    warnings: Sequence[str],
    libraries: Iterable[str] = (),
) -> Record:
    """Return a record without images. Its command is the command line of this process."""
    return Record(
        kind=next(kind for kind, results_type in RESULTS.items() if isinstance(results, results_type)),
        title=title,
        command=shlex.join(["python", "-m", "evaluate", *sys.argv[1:]]),
        inputs=dict(inputs),
        results=results,
        definitions=dict(definitions),
        warnings=list(warnings),
        images=[],
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in (*LIBRARIES, *libraries)},
        },
    )


def check_out(out: Path | None, kind: str) -> None:
    """Raise RequestError unless `out` can be created, is empty, or holds a record of the same kind."""
    if out is None:
        return
    expect_place(out)
    if out.exists() and not out.is_dir():
        raise RequestError(f"The folder {out}", found="a file", expected="a folder", fix="name another folder")
    if not out.exists() or not contents_of(out):
        return
    if not (out / NAME).is_file() or _read_json(out).get("kind") != kind:
        raise RequestError(
            f"The folder {out}",
            found="other files",
            expected=f"a new folder, or a folder with an older record of `{kind}`",
            fix="name another folder",
        )


def write_record(out: Path, record: Record, pictures: Mapping[str, Picture], lists: Mapping[str, str]) -> None:
    """Write each picture as <name>.png, each list under its name, and record.json.

    The files are complete before they replace those of an older record. Raises CytosynthError if writing fails.
    """
    images = [RecordImage(f"{name}.png", picture.caption, picture.real) for name, picture in pictures.items()]
    part = out.with_name(out.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, picture in pictures.items():
            picture.image.save(part / f"{name}.png", optimize=True)
        for name, text in lists.items():
            write_text(part / name, text)
        write_json(part / NAME, replace(record, images=images).as_json())
        if out.exists():
            for file in part.iterdir():
                file.replace(out / file.name)
            part.rmdir()
        else:
            part.rename(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise CytosynthError(
            f"The record {out}",
            found=first_line(error),
            expected="a writable folder with free space",
            fix="free some space and run the command again",
        ) from error


def read_record(folder: Path) -> Record:
    """Return the record in a folder.

    Raises RequestError if record.json is missing or has another content, or if an image is not a file of the folder.
    """
    value = _read_json(folder)
    try:
        record = _parse_record(value)
    except ValueError as error:
        raise _not_a_record(folder, str(error)) from error
    for image in record.images:
        if image.file != PurePosixPath(image.file).name or not (folder / image.file).is_file():
            raise _not_a_record(folder, f"the image {image.file}, which is not a file in that folder")
    return record


def read_results(folder: Path, kind: type[Kind]) -> Kind:
    """Return the results of the record in a folder. Raises RequestError as read_record does, and for another kind."""
    record = read_record(folder)
    if not isinstance(record.results, kind):
        raise _not_a_record(folder, f"a record of `{record.kind}`, not {kind.__name__}")
    return record.results


def _read_json(folder: Path) -> dict[str, Any]:
    """Return the content of record.json. Raises RequestError unless it is a JSON object."""
    path = folder / NAME
    if not path.is_file():
        if inner := [str(folder / one.parent.name) for one in sorted(folder.glob(f"*/{NAME}"))]:
            raise _not_a_record(folder, f"no such file, but records in {', '.join(inner)}")
        raise _not_a_record(folder, "no such file" if folder.is_dir() else "no such folder")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_a_record(folder, str(error)) from error
    if not isinstance(value, dict):
        raise _not_a_record(folder, "not a JSON object")
    return value


def _parse_record(value: dict[str, Any]) -> Record:
    """Raises ValueError that names what is missing or wrong."""
    kinds = get_type_hints(Record)
    if missing := [name for name in kinds if name not in value]:
        raise ValueError(f"no {', '.join(missing)}")
    if value["kind"] not in RESULTS:
        raise ValueError(f"a record of the kind {value['kind']!r}, which is not one of {', '.join(RESULTS)}")
    kinds["results"] = RESULTS[value["kind"]]
    return Record(**{name: parse(kind, value[name], name) for name, kind in kinds.items()})


def _not_a_record(folder: Path, found: str) -> RequestError:
    return RequestError(
        f"The record {folder / NAME}",
        found=found,
        expected="a file that `python -m evaluate` wrote with --out",
        fix="pass a folder that was written with --out",
    )
