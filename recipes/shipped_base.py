"""Write where the embedded bundle holds each tensor of its base: trainer/base/cells/places.json.

    python -m recipes.shipped_base BUNDLE BASE OUT

BUNDLE is the bundle that ships. BASE is its base, as `python -m recipes.base_of_bundle` restored it. OUT is the new
file. Each tensor is found by its content, as float16 or float32, transposed or not.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import existing_folder, script_parser
from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from engine.files import sha256_of
from engine.terminal import run_command_line
from trainer.base.base import Base, open_base


def main() -> None:
    """Parse the command line and write the file. Raises RequestError."""
    parser = script_parser("recipes.shipped_base", __doc__)
    parser.add_argument("bundle", metavar="BUNDLE", type=existing_folder, help="the bundle that ships")
    parser.add_argument("base", metavar="BASE", type=existing_folder, help="its base in the diffusers layout")
    parser.add_argument("out", metavar="OUT", type=Path, help="new JSON file")
    asked = parser.parse_args()
    asked.out.write_text(json.dumps(find_places(asked.bundle, open_base(asked.base)), separators=(",", ":")) + "\n")


def find_places(bundle: Path, base: Base) -> dict[str, object]:
    """Return the content of places.json. Raises RequestError for a tensor that the bundle does not hold."""
    opened = open_bundle(str(bundle))
    manifest = opened.manifest
    # A class that the base knows by itself shares its UNet with others of this kind.
    uses = [entry.weights[1] for entry in manifest.classes.values()]
    plain = next(entry for entry in manifest.classes.values() if uses.count(entry.weights[1]) > 1)
    assert manifest.text_encoder is not None
    assert base.refiner is not None
    assert manifest.vae_encoder is not None
    names = {
        "unet": (*plain.weights, plain.unet),
        "vae": (*manifest.decoder[::-1], *manifest.vae_encoder[::-1]),
        "text_encoder": (*manifest.text_encoder.weights, manifest.text_encoder.graph),
        "refiner": manifest.decoder[::-1],
    }
    data = {name: (opened.folder / name).read_bytes() for part in names.values() for name in part}
    tensors = {}
    for part, files in names.items():
        weights = {name: tensor.numpy() for name, tensor in getattr(base, part).state_dict().items()}
        tensors[part] = {name: _place(name, value, files, data) for name, value in weights.items()}
    tokenizer = manifest.text_encoder.tokenizer
    return {
        "preset": "small",
        "size": base.picture_side,
        "tokenizer": tokenizer,
        "refiner": asdict(base.refiner.settings),
        "files": {name: sha256_of(opened.folder / name) for name in [*data, tokenizer]},
        "tensors": tensors,
    }


def _place(
    name: str, value: NDArray[np.float32], files: tuple[str, ...], data: dict[str, bytes]
) -> tuple[str, int, str, bool]:
    """Return the file, the offset in bytes, the dtype, and whether the tensor is transposed there."""
    for transposed in (False, True)[: value.ndim if value.ndim == 2 else 1]:
        for dtype in ("<f2", "<f4"):
            stored = np.ascontiguousarray(value.T if transposed else value).astype(dtype)
            if not np.array_equal(stored.astype(np.float32), value.T if transposed else value):
                continue
            for file in files:
                offset = data[file].find(stored.tobytes())
                if offset >= 0:
                    return file, offset, dtype, transposed
    raise RequestError(
        f"The tensor {name}",
        found=f"no such values in {', '.join(files)}",
        expected="the base from which the bundle was made",
        fix="restore the base with `python -m recipes.base_of_bundle`",
    )


if __name__ == "__main__":
    run_command_line(main)
