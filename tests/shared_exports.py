"""Export equal modules once: a store of ONNX graphs that all tests of a session share.

Many tests export the decoder, the text encoder and the UNets of the same tiny base, and each export takes many seconds.
A graph comes from the store only if the module's structure, settings and weights, the inputs' shapes and the names are
equal. Commands in processes of their own do not use the store.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import onnx
from torch import nn

__all__ = ["stored"]

PLAIN = (bool, int, float, str, tuple, type(None))
Export = Callable[..., onnx.ModelProto]


def stored(export: Export, folder: Path) -> Export:
    """Return `exporter.graphs.export_graph` with a store in the folder."""
    folder.mkdir(parents=True, exist_ok=True)

    def export_once(module: nn.Module, inputs: Any, *options: Any) -> onnx.ModelProto:
        path = folder / f"{_digest(module.eval(), inputs, options)}.onnx"
        if not path.exists():
            unfinished = folder / uuid4().hex
            with warnings.catch_warnings():
                # Torch's exporter warns of its own future.
                warnings.simplefilter("ignore")
                unfinished.write_bytes(export(module, inputs, *options).SerializeToString())
            unfinished.replace(path)
        return onnx.load(path)

    return export_once


def _digest(module: nn.Module, inputs: Any, options: tuple[Any, ...]) -> str:
    """Everything that an export depends on."""
    digest = hashlib.sha256(repr([(tensor.shape, tensor.dtype) for tensor in inputs]).encode())
    digest.update(repr(options).encode())
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if isinstance(value, PLAIN)}
        settings |= {key: type(value) for key, value in vars(part).items() if key not in settings}
        # Where a model was read from does not change its graph.
        settings |= {key: value for key, value in getattr(part, "_internal_dict", {}).items() if key[0] != "_"}
        settings.pop("name_or_path", None)
        digest.update(repr((name, type(part), part.extra_repr(), settings)).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
