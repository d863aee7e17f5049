"""Write a base of random weights, for measuring times and sizes, which do not depend on the weights' values.

python -m benchmarks.scripts.random_base FOLDER small|full|file

full has the shapes of Stable Diffusion 1.5 and 4.3 GB. file writes the same as v1-5-pruned-emaonly.safetensors, with a
vocabulary of CLIP's size beside it in clip/; this takes 0.5 GB of memory.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.arguments import script_parser
from benchmarks.original_layout import original_state
from benchmarks.scripts.full_size import SINGLE_FILE
from trainer.base.base import Base, new_tokenizer
from trainer.base.presets import PRESETS
from trainer.base.stable_diffusion import CLIP_TEXT, SCHEDULER, UNET, VAE

__all__ = ["full_size_base", "write_single_file", "write_vocabulary"]

SMALL_SIDE = 128
WORDS = ["random"]


def full_size_base(captions: list[str]) -> Base:
    """Return a base of random weights with the shapes of Stable Diffusion 1.5."""
    return Base(
        AutoencoderKL(**VAE),
        UNet2DConditionModel(**UNET),
        CLIPTextModel(CLIPTextConfig(**CLIP_TEXT)),
        new_tokenizer(captions, 77),
        DDIMScheduler(**SCHEDULER),
    )


def write_single_file(path: Path) -> None:
    """Write random float32 tensors with the names and shapes of Stable Diffusion 1.5's single file.

    One tensor at a time is in memory.
    """
    with torch.device("meta"):
        parts = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE), CLIPTextModel(CLIPTextConfig(**CLIP_TEXT))
    shapes = {name: tuple(tensor.shape) for name, tensor in original_state(*parts).items()}
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    # The layout of https://github.com/huggingface/safetensors#format.
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for name, shape in shapes.items():
            file.write(_new_tensor(name, shape, rng).tobytes())


def _new_tensor(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the start of a training: scales near 1 and offsets near 0, other weights uniform within 1 / sqrt(fan-in).

    No two tensors are equal, because TensorRT refuses tensors of equal values and different sizes.
    """
    if len(shape) == 1:
        return np.float32(name.endswith("weight")) + np.float32(0.01) * rng.standard_normal(shape, np.float32)
    values = rng.random(shape, np.float32)
    values -= 0.5
    values *= 2 / math.sqrt(math.prod(shape[1:]))
    return values


def write_vocabulary(folder: Path, size: int) -> None:
    """Write vocab.json with this number of tokens and an empty merges.txt, which do not state the length of a prompt,
    as in the folder of CLIP's tokenizer. Every letter is a token of its own."""
    known = new_tokenizer([], 77).get_vocab()
    words = sorted(known, key=known.__getitem__)
    words[-2:-2] = [f"filler{i}</w>" for i in range(size - len(words))]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def main() -> None:
    """Write the base."""
    parser = script_parser("benchmarks.scripts.random_base", __doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("size", choices=("small", "full", "file"))
    asked = parser.parse_args()
    torch.manual_seed(0)
    if asked.size == "file":
        asked.folder.mkdir(parents=True, exist_ok=True)
        write_vocabulary(asked.folder / "clip", CLIP_TEXT["vocab_size"])
        write_single_file(asked.folder / SINGLE_FILE)
        return
    base = full_size_base(WORDS) if asked.size == "full" else Base.new(PRESETS["small"], WORDS, SMALL_SIDE)
    base.save(asked.folder)


if __name__ == "__main__":
    main()
