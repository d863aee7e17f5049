"""Opens a folder that `merge` wrote, for commands that use the model as it is."""

from __future__ import annotations

import json
from pathlib import Path

from engine.errors import RequestError
from trainer.adapters.merge import CLASS_FILE
from trainer.base.base import Base, open_base
from trainer.hypernetwork.fold import expect_no_residuals

__all__ = ["open_merged"]


def open_merged(folder: Path) -> tuple[Base, str]:
    """Return the model of a merged folder and the prompt of its class. Raises RequestError."""
    expect_no_residuals(folder, "The merged folder", "merge a linear hypernetwork")
    try:
        prompt = json.loads((folder / CLASS_FILE).read_text(encoding="utf-8"))["prompt"]
        if not isinstance(prompt, str):
            raise ValueError(f"the prompt {prompt!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"The merged folder {folder}",
            found=f"no readable {CLASS_FILE} ({error})",
            expected="a folder that `python -m trainer merge` wrote",
            fix="name such a folder",
        ) from error
    return open_base(folder), prompt
