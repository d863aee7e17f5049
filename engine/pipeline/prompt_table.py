"""The embeddings of each step, from prompts with weights, chunks, parts and changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.bundle.words import open_tokenizer
from engine.errors import RequestError
from engine.pipeline.prompted import PromptTable
from engine.pipeline.prompts import encode_tokens, read_embeddings
from engine.sampling.prompt_chunks import Chunk, Vocabulary, chunks_of, weighted
from engine.sampling.prompt_syntax import Part, Passage, Prompt, parse_prompt

__all__ = ["expect_context", "read_prompt_table"]

COMMA = ",</w>"
Key = tuple[Chunk, ...] | str
"""Chunks to encode, or the name of embeddings that the bundle stores."""


def read_prompt_table(job: Job, class_name: str, evaluations: int) -> PromptTable | None:
    """Return the embeddings of each of so many steps, or None if one prompt of one chunk holds for all of them.

    A prompt that the request does not state is that of the class, whose embeddings the bundle stores. With --clip-skip
    it is encoded again.
    """
    request = job.request
    skips = request.clip_skip != 1
    prompt = None if request.prompt is None else parse_prompt(request.prompt)
    negative = None if request.negative_prompt is None else parse_prompt(request.negative_prompt, parts=False)
    if skips:
        prompt = prompt or _own_prompt(job, class_name)
        negative = negative or Prompt.of_text("")
    if prompt is None and negative is None:
        return None
    chunks_at = _chunker(_vocabulary(job), evaluations)
    rows: list[tuple[Key, ...]] = []
    for step in range(max(1, evaluations)):
        keys: list[Key] = []
        for read, stored in ((prompt, "cond"), (negative, "uncond")):
            keys += [stored] if read is None else [chunks_at(part, step) for part in read.parts]
        rows.append(tuple(keys))
    plain = all(read is None or read.plain for read in (prompt, negative))
    if plain and not skips and all(isinstance(key, str) or len(key) == 1 for key in rows[0]):
        return None
    order = {key: place for place, key in enumerate(dict.fromkeys(key for row in rows for key in row))}
    return PromptTable(
        contexts=_embed(job, class_name, list(order)),
        rows=tuple(tuple(order[key] for key in row) for row in rows),
        weights=(1.0,) if prompt is None else prompt.weights,
    )


def _own_prompt(job: Job, class_name: str) -> Prompt:
    """Return the prompt of a class. Earlier versions took its brackets for text, whether or not they match."""
    text = job.bundle.manifest.classes[class_name].prompt
    try:
        return parse_prompt(text, f"The prompt of the class {class_name}")
    except RequestError:
        return Prompt.of_text(text)


def _chunker(vocabulary: Vocabulary, evaluations: int) -> Callable[[Part, int], tuple[Chunk, ...]]:
    """Return the function that gives the chunks of a part in a step. Equal passages are read once."""

    @cache
    def chunks(passages: tuple[Passage, ...]) -> tuple[Chunk, ...]:
        return chunks_of(passages, vocabulary)

    return lambda part, step: chunks(part.passages(step, evaluations))


def _vocabulary(job: Job) -> Vocabulary:
    tokenizer = open_tokenizer(job.bundle)
    padding: dict[str, Any] = tokenizer.padding or {}
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start, end = tokenizer.encode("").ids
    return Vocabulary(
        encode=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        start=start,
        end=end,
        padding=padding.get("pad_id", end),
        comma=tokenizer.token_to_id(COMMA),
        length=job.bundle.manifest.context_shape[0],
    )


def _embed(job: Job, class_name: str, keys: list[Key]) -> tuple[NDArray[np.float32], ...]:
    """Return the embeddings (n T, D) of each key."""
    chunks = list(dict.fromkeys(chunk for key in keys if not isinstance(key, str) for chunk in key))
    request, rows = job.request, list(dict.fromkeys(chunk.tokens for chunk in chunks))
    states = dict(zip(rows, encode_tokens(job.bundle, rows, request.clip_skip), strict=True)) if rows else {}
    keep_mean = request.emphasis == "original"
    done = {chunk: weighted(states[chunk.tokens], chunk.weights, keep_mean=keep_mean) for chunk in chunks}
    stored = dict(zip(("cond", "uncond"), read_embeddings(job, class_name, stored=True), strict=True))
    return tuple(
        stored[key] if isinstance(key, str) else np.concatenate([done[chunk] for chunk in key]) for key in keys
    )


def expect_context(table: PromptTable | None, tokens: int, backend: Backend) -> None:
    """Raise RequestError if a context is longer than the UNet's graph states, and the backend cannot change that."""
    longest = tokens if table is None else max(table.tokens())
    if longest > tokens and not backend.takes_long_context:
        raise RequestError(
            f"--prompt or --negative-prompt with --backend {backend.name}",
            found=f"{longest // tokens} chunks of {tokens} tokens each, from BREAK or from a long prompt",
            expected=f"one chunk: the UNet's graph is made for {tokens} tokens, and only openvino can change that",
            fix="use --backend openvino, or shorten the prompt",
        )
