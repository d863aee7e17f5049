"""Files of torch.save, which are pickles: only tensors and plain values are read, and no code is run."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestError, first_line

__all__ = ["load_plain"]


def load_plain(path: Path) -> Any:
    """Return the content of a torch.save file. Raises RequestError unless it holds only tensors and plain values."""
    try:
        with warnings.catch_warnings():
            # torch warns about the protocol of the pickle. What cannot be read is an error anyway.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        try:
            wanted = ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except (ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError):
            wanted = ""
        raise RequestError(
            f"The file {path}",
            found=f"a pickle that contains {wanted}" if wanted else f"unreadable ({first_line(error)})",
            expected="only tensors and plain values, because anything else could run code",
            fix="do not use this file; get the weights as safetensors",
        ) from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise RequestError(
            f"The file {path}", found=f"unreadable ({first_line(error)})", expected="a torch file", fix="check the path"
        ) from error
