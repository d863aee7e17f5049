"""Records of a class (name, prompt, origin, licence) and of a training (machine, versions).

Importing this module does not import torch.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from engine.errors import RequestError, first_line
from engine.files import write_text
from engine.machine import processor_model
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.options import setting
from trainer.base.caption_files import prompt_of
from trainer.base.card import NOT_STATED
from trainer.pictures.prepare import count_sources

__all__ = [
    "NOT_STATED",
    "ORIGINS",
    "RECORD",
    "ClassRecord",
    "ClassSettings",
    "machine_and_versions",
    "read_record",
    "write_record",
]

ORIGINS = ("photographs", "phantom")
"""Allowed origins of the pictures of a class."""
RECORD = "record.json"
"""File of the record in the folder of a base."""


@dataclass(frozen=True)
class ClassRecord:
    """What a class is, and where its pictures come from. The record travels with the weights into the bundle."""

    class_name: str
    prompt: str
    origin: str
    """One of ORIGINS."""
    pictures: int
    """Number of source pictures."""
    licence: str = NOT_STATED
    attribution: str = NOT_STATED

    def __post_init__(self) -> None:
        rules = {
            "class_name": (is_class_name(self.class_name), CLASS_NAME_RULE),
            "origin": (self.origin in ORIGINS, f"one of {', '.join(ORIGINS)}"),
            "pictures": (self.pictures >= 1, "at least 1"),
            **{name: (bool(getattr(self, name).strip()), "some text") for name in ("licence", "attribution")},
        }
        for name, (kept, expected) in rules.items():
            if not kept:
                raise RequestError(
                    f"The class record's {name}",
                    found=repr(getattr(self, name)),
                    expected=expected,
                    fix="name the class with --class" if name == "class_name" else "change the value",
                )


@dataclass(frozen=True)
class ClassSettings:
    """Class record given on the command line. None means that the option was not given."""

    PANEL: ClassVar[str] = "Class record"

    class_name: str | None = setting(
        None, help="Name of the class. Default: the name in the record, or else of the folder or file.", flag="--class"
    )
    prompt: str | None = setting(
        None, help="Prompt of the class. Default: the prompt in the record, or else the class name as words."
    )
    origin: str | None = setting(None, help="Origin of the pictures", choices=ORIGINS)
    pictures: int | None = setting(
        None,
        help="Number of source pictures before augmentation. Default: the number in the record, or else the number "
        "that prepare recorded.",
    )
    licence: str | None = setting(None, help="Licence of the pictures.")
    attribution: str | None = setting(None, help="Name to credit for the pictures.")

    def given(self) -> dict[str, Any]:
        """Return the values that were given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def record_of(self, folder: Path) -> ClassRecord:
        """Return the record of a class whose prepared pictures are in `folder`. Raises RequestError."""
        known = self.given()
        name = known.get("class_name") or folder.resolve().name
        count = count_sources(folder) if self.pictures is None else self.pictures
        prompt = known.get("prompt") or prompt_of(name)
        return ClassRecord(**{**known, "class_name": name, "prompt": prompt, "pictures": count})

    def changed(self, record: ClassRecord | None, file_name: str) -> ClassRecord:
        """Return the record of a file with these values in place of its own.

        A file without a record needs at least --origin and --pictures; its class is then called `file_name`. Raises
        RequestError.
        """
        known = self.given()
        if record is not None:
            return replace(record, **known)
        missing = [f"--{name}" for name in ("origin", "pictures") if name not in known]
        if missing:
            raise RequestError(
                f"The file of {file_name}",
                found="no class record in the file",
                expected="the origin and the number of the source pictures",
                fix=f"add {' and '.join(missing)} (and --licence, --attribution)",
            )
        name = known.get("class_name") or file_name
        return ClassRecord(**{"class_name": name, "prompt": prompt_of(name), **known})


def write_record(path: Path, **facts: Any) -> None:
    """Write the facts, the machine and the versions as JSON. An infinite number becomes null."""
    plain = json.loads(json.dumps({**facts, **machine_and_versions()}), parse_constant=lambda name: None)
    write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Return what `write_record` wrote, or an empty dict if the file is missing, as in another program's base.

    Raises RequestError if the file is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RequestError(
            f"The record {path}",
            found=first_line(error),
            expected="the JSON object that the training wrote beside its weights",
            fix="restore the file, or remove it",
        ) from error


def machine_and_versions() -> dict[str, Any]:
    """Return the processor, its threads, the GPU if torch sees one, and the versions of Python and the libraries."""
    import torch

    machine = {"processor": processor_model(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return {"machine": machine, "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")}}
