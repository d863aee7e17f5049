"""Run records: what was trained, on what, with which versions, in what time."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["write_record"]


def write_record(path: Path, **facts: Any) -> None:
    """Write the facts as JSON beside the machine and the versions."""
    machine = {"processor": _processor(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers")}
    path.write_text(json.dumps({**facts, "machine": machine, "versions": versions}, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
