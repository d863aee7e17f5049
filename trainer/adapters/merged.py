"""Opens a folder that `merge` wrote, for commands that use the model as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RequestError
from trainer.adapters.merge import CLASS_FILE
from trainer.base.base import Base, open_base
from trainer.hypernetwork.fold import expect_no_residuals

__all__ = ["MergedClass", "open_merged"]


@dataclass(frozen=True)
class MergedClass:
    """The model of a class, its name and its prompt."""

    base: Base
    name: str
    prompt: str


def open_merged(folder: Path) -> MergedClass:
    """Return the class in a merged folder. Raises RequestError."""
    expect_no_residuals(folder, "The merged folder", "merge a linear hypernetwork")
    try:
        record = json.loads((folder / CLASS_FILE).read_text(encoding="utf-8"))
        name, prompt = record["class_name"], record["prompt"]
        if not isinstance(name, str) or not isinstance(prompt, str):
            raise ValueError(f"the class {name!r} with the prompt {prompt!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"The merged folder {folder}",
            found=f"no readable {CLASS_FILE} ({error})",
            expected="a folder that `python -m trainer merge` wrote",
            fix="name such a folder",
        ) from error
    return MergedClass(open_base(folder), name, prompt)
