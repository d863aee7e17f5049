"""Prompt embeddings from the bundle or from a user's prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engine.bundle.folder import Bundle, unreadable
from engine.bundle.job import Job
from engine.bundle.words import open_tokenizer
from engine.errors import CytosynthError

__all__ = ["encode_tokens", "read_embeddings"]


def read_embeddings(job: Job, class_name: str, *, stored: bool = False) -> NDArray[np.float32]:
    """Return the embeddings of the prompt and of the negative prompt, (2, T, D) float32.

    A prompt given by the user is encoded on the CPU in float32 for every backend. Raises CytosynthError.

    stored: return what the bundle stores, whatever the user gives. A prompt that needs more than these two rows is left
    to engine.pipeline.prompt_table.
    """
    bundle, request = job.bundle, job.request
    path = bundle.path(bundle.manifest.classes[class_name].context)
    try:
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(path, error) from error
    kept = []
    for name in ("cond", "uncond"):
        found = tensors.get(name)
        if found is None or found.shape != bundle.manifest.context_shape or found.dtype != np.float32:
            raise CytosynthError(
                f"The prompt embeddings {path}, tensor {name}",
                found="none" if found is None else f"{found.dtype} {found.shape}",
                expected=f"float32 {bundle.manifest.context_shape}",
                fix="export the bundle again",
            )
        kept.append(found)
    asked = [request.prompt, request.negative_prompt]
    if stored or asked == [None, None]:
        return np.stack(kept)
    encoded = iter(_encode(bundle, [prompt for prompt in asked if prompt is not None]))
    return np.stack([own if prompt is None else next(encoded) for prompt, own in zip(asked, kept, strict=True)])


def _encode(bundle: Bundle, prompts: list[str]) -> NDArray[np.float32]:
    """Return the embeddings of prompts, (len(prompts), T, D) float32."""
    files = bundle.manifest.text_encoder
    assert files is not None, "make_request refuses a prompt if the bundle has no text encoder"
    length, _ = bundle.manifest.context_shape
    path: Path = bundle.path(files.tokenizer)
    tokenizer = open_tokenizer(bundle)
    tokens = [tokenizer.encode(prompt).ids for prompt in prompts]
    if any(len(row) != length for row in tokens):
        raise CytosynthError(
            f"The tokenizer {path}",
            found=f"prompts of {sorted({len(row) for row in tokens})} tokens",
            expected=f"{length} tokens, by padding and truncation",
            fix="export the bundle again",
        )
    return encode_tokens(bundle, tokens)


def encode_tokens(bundle: Bundle, tokens: Sequence[Sequence[int]], clip_skip: int = 1) -> NDArray[np.float32]:
    """Return the hidden states (N, T, D) of N rows of T tokens, computed in float32 on the CPU."""
    from engine.backends.openvino import OpenVINOBackend

    files = bundle.manifest.text_encoder
    assert files is not None, "make_request refuses a prompt if the bundle has no text encoder"
    rows = np.array(tokens, np.int64)
    model = OpenVINOBackend(precision="f32").open_text_encoder(
        bundle.path(files.graph), {"input_ids": rows.shape}, clip_skip
    )
    try:
        return np.asarray(model.run({"input_ids": rows})["hidden_states"], np.float32)
    finally:
        model.close()
