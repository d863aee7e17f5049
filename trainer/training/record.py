"""Records: what a class is and where its pictures came from; what was trained, with which versions, in what time."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestError
from engine.machine import processor_model
from engine.names import CLASS_NAME_RULE, is_class_name

__all__ = ["NOT_STATED", "ORIGINS", "ClassRecord", "machine_and_versions", "read_record", "write_record"]

ORIGINS = ("photographs", "phantom")
"""Where a class's pictures may come from."""
NOT_STATED = "not stated"


@dataclass(frozen=True)
class ClassRecord:
    """What a class is, and where its pictures came from; it travels with the weights into the bundle."""

    class_name: str
    prompt: str
    origin: str
    """One of ORIGINS."""
    pictures: int
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
                    f"The class record's {name}", found=repr(getattr(self, name)), expected=expected, fix="change it"
                )


def write_record(path: Path, **facts: Any) -> None:
    """Write the facts as JSON beside the machine and the versions; an infinite number is null."""
    plain = json.loads(json.dumps({**facts, **machine_and_versions()}), parse_constant=lambda name: None)
    path.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote there; nothing where there is none, as beside another program's base."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def machine_and_versions() -> dict[str, Any]:
    """The processor, its threads, the GPU if torch sees one, Python, and the libraries that training rests on."""
    machine = {"processor": processor_model(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return {"machine": machine, "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")}}
