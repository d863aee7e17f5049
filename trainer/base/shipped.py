"""The base that ships: its weights lie in the embedded bundle.

`cells/places.json` states where the files of the bundle hold each tensor, and the SHA-256 of these files. So opening
the base needs neither ONNX nor a copy of the weights. `recipes/shipped_base.py` writes that file.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import CLIPTokenizer

from engine.errors import RequestError
from trainer.base.presets import PRESETS
from trainer.base.refiner import Refiner, RefinerSettings

if TYPE_CHECKING:
    from trainer.base.base import Base

__all__ = ["SHIPPED", "open_shipped", "read_tokenizer", "record_of_shipped", "shipped_folder"]

SHIPPED = ("cells",)
"""Names of the bases that ship."""
PLACES = "places.json"
BUNDLES = Path(str(resources.files("engine"))) / "bundles"


def shipped_folder(name: str) -> Path:
    """Return the folder of a base that ships. It holds `base.json` and the places of the weights."""
    return Path(__file__).with_name(name)


def open_shipped(name: str, new: Any) -> Base:
    """Return a base that ships, without its card. Raises RequestError if a file is missing or was changed.

    new: Base.new.
    """
    folder, bundle = shipped_folder(name), BUNDLES / name
    index = json.loads((folder / PLACES).read_text())
    files = {file: _read(bundle / file, digest) for file, digest in index["files"].items()}
    preset = PRESETS[index["preset"]]
    base: Base = new(preset, read_tokenizer(files[index["tokenizer"]], preset.prompt_tokens), index["size"])
    base.refiner = Refiner(RefinerSettings.from_json(index["refiner"]))
    parts = {"unet": base.unet, "vae": base.vae, "text_encoder": base.text_encoder, "refiner": base.refiner}
    for part, module in parts.items():
        _fill(module, index["tensors"][part], files)
    return base


def record_of_shipped(name: str) -> dict[str, Any]:
    """Return the record of the training of a base that ships."""
    record: dict[str, Any] = json.loads((BUNDLES / name / "record.json").read_text())["base"]
    return {**record, "encoder": json.loads((shipped_folder(name) / "encoder.json").read_text())}


def read_tokenizer(text: bytes, length: int) -> CLIPTokenizer:
    """Return the tokenizer in a bundle's `tokenizer.json`, with the number of tokens of a prompt."""
    words = json.loads(text)["model"]
    merges = [(left, right) for left, right in words["merges"]]
    return CLIPTokenizer(vocab=words["vocab"], merges=merges, model_max_length=length)


def _read(path: Path, sha256: str) -> bytes:
    data = path.read_bytes() if path.is_file() else None
    found = "no such file" if data is None else f"SHA-256 {hashlib.sha256(data).hexdigest()}"
    if data is None or not found.endswith(sha256):
        raise RequestError(
            f"The shipped base, file {path}",
            found=found,
            expected=f"SHA-256 {sha256}",
            fix="install cytosynth again, or restore the file from the repository",
        )
    return data


@torch.no_grad()
def _fill(module: nn.Module, places: dict[str, Any], files: dict[str, bytes]) -> None:
    """Fill the tensors of a module from places (file, offset, dtype, transposed)."""
    for name, tensor in module.state_dict().items():
        file, offset, dtype, transposed = places[name]
        found = np.frombuffer(files[file], dtype, tensor.numel(), offset).astype(np.float32)
        shape = tuple(tensor.shape)
        value = found.reshape(shape[::-1]).T if transposed else found.reshape(shape)
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    module.eval()
