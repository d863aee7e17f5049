"""Embeddings of textual inversion: files of this project and of the WebUI (`.pt`), and words added to a base."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import RequestError
from engine.files import replace_file
from trainer.base.base import Base
from trainer.base.torch_files import load_plain
from trainer.training.record import ClassRecord
from trainer.training.weights_file import write_weights

__all__ = ["Embedding", "add_words", "read_embedding", "write_embedding", "write_webui_embedding"]

FORMAT = "cytosynth embedding 1"
TENSOR = "emb_params"
"""Name of the tensor in a safetensors file, where the WebUI and diffusers look for it."""


@dataclass(frozen=True)
class Embedding:
    """Trained words. vectors: (V, D) float32, one vector per token."""

    name: str
    vectors: torch.Tensor
    step: int = 0
    record: ClassRecord | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens of the words in a prompt, in angle brackets as in diffusers."""
        return tuple(f"<{self.name}>" if i == 0 else f"<{self.name}_{i}>" for i in range(len(self.vectors)))

    @property
    def prompt(self) -> str:
        """The words as one text."""
        return " ".join(self.words)


def read_embedding(path: Path) -> Embedding:
    """Return the embedding of a `.safetensors` file or the WebUI's `.pt`. Raises RequestError."""
    try:
        if path.suffix.lower() == ".pt":
            state = load_plain(path)
            vectors = next(iter(state["string_to_param"].values()))
            found = Embedding(str(state.get("name") or path.stem), vectors.float(), int(state.get("step") or 0))
        else:
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
                vectors = opened.get_tensor(TENSOR).float()
            record = ClassRecord(**json.loads(metadata["record"])) if "record" in metadata else None
            found = Embedding(metadata.get("name", path.stem), vectors, int(metadata.get("step", 0)), record)
        if found.vectors.ndim != 2:
            raise ValueError(f"a tensor of the shape {tuple(found.vectors.shape)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, SafetensorError) as error:
        raise RequestError(
            f"The embedding {path}",
            found=f"unreadable ({error})",
            expected="a file that `python -m trainer embed` wrote, or the WebUI's .pt",
            fix="check the path",
        ) from error
    return found


def write_embedding(path: Path, embedding: Embedding) -> None:
    """Write an embedding as safetensors."""
    metadata = {"format": FORMAT, "name": embedding.name, "step": str(embedding.step)}
    write_weights(path, {TENSOR: embedding.vectors}, metadata, embedding.record)


def write_webui_embedding(path: Path, embedding: Embedding) -> None:
    """Write an embedding as the WebUI's `.pt`."""
    state = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": embedding.vectors.detach().cpu().clone()},
        "name": embedding.name,
        "step": embedding.step,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as part:
        torch.save(state, part)


@torch.no_grad()
def add_words(base: Base, embedding: Embedding) -> None:
    """Add the words of an embedding to a base. Raises RequestError if they do not fit."""
    table = base.text_encoder.get_input_embeddings().weight
    if embedding.vectors.shape[1] != table.shape[1]:
        raise RequestError(
            f"The embedding {embedding.name}",
            found=f"vectors of {embedding.vectors.shape[1]} values",
            expected=f"{table.shape[1]} values, the width of the base's text encoder",
            fix="use the base that the embedding was trained on",
        )
    known = [word for word in embedding.words if word in base.tokenizer.get_vocab()]
    if known:
        raise RequestError(
            f"The embedding {embedding.name}",
            found=f"the word {known[0]}, which is already a token of the base",
            expected="a new word",
            fix="rename the embedding",
        )
    base.tokenizer.add_tokens(list(embedding.words))
    base.text_encoder.resize_token_embeddings(len(base.tokenizer), mean_resizing=False)
    ids = base.tokenizer.convert_tokens_to_ids(list(embedding.words))
    base.text_encoder.get_input_embeddings().weight[ids] = embedding.vectors.to(table.dtype)
