"""Passages of a prompt as chunks of tokens, each as long as the text encoder takes, with a weight per token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.sampling.prompt_syntax import Passage

__all__ = ["Chunk", "Vocabulary", "chunks_of", "mean_factor", "weighted"]

BACKTRACK = 20
"""Tokens after the last comma of a full chunk that move to the next chunk, at most."""
LEAST_MEAN = 0.01
"""Mean of embeddings, relative to their deviation, below which it says nothing and no mean is kept."""


@dataclass(frozen=True)
class Vocabulary:
    """What chunks need of a tokenizer."""

    encode: Callable[[str], Sequence[int]]
    """Returns the tokens of a text without special ones."""
    start: int
    end: int
    padding: int
    comma: int | None
    """Token of a comma, if the vocabulary has one."""
    length: int
    """Tokens of a chunk, with start and end."""


@dataclass(frozen=True)
class Chunk:
    """The tokens of one call of the text encoder, with start, end and padding, and the weight of each."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


def chunks_of(passages: Sequence[Passage], vocabulary: Vocabulary) -> tuple[Chunk, ...]:
    """Return the chunks of the passages between BREAKs. An empty passage is a chunk of its own.

    A passage that is too long continues in the next chunk, after its last comma if that is near.
    """
    chunks = []
    room = vocabulary.length - 2
    for passage in passages:
        left = [(token, weight) for text, weight in passage for token in vocabulary.encode(text)]
        while len(left) > room:
            cut = room
            commas = [place for place in range(room) if left[place][0] == vocabulary.comma]
            # What follows the comma moves on only if a comma does not end the chunk anyway.
            if commas and 0 < room - 1 - commas[-1] <= BACKTRACK:
                cut = commas[-1] + 1
            chunks.append(_chunk(left[:cut], vocabulary))
            left = left[cut:]
        chunks.append(_chunk(left, vocabulary))
    return tuple(chunks)


def _chunk(content: Sequence[tuple[int, float]], vocabulary: Vocabulary) -> Chunk:
    missing = vocabulary.length - 2 - len(content)
    tokens = (vocabulary.start, *(token for token, _ in content), vocabulary.end, *[vocabulary.padding] * missing)
    return Chunk(tokens, (1.0, *(weight for _, weight in content), *[1.0] * (missing + 1)))


def weighted(states: NDArray[np.float32], weights: Sequence[float], *, keep_mean: bool) -> NDArray[np.float32]:
    """Return the embeddings (T, D) of a chunk, each token's multiplied by its weight.

    keep_mean: then multiply all by mean_factor.
    """
    factors = np.array(weights, np.float32)
    if (factors == 1).all():
        return states
    changed = states * factors[:, None]
    if keep_mean:
        changed *= np.float32(mean_factor(*((float(x.mean()), float(x.std())) for x in (states, changed))))
    return changed


def mean_factor(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the mean before / the mean after, by which AUTOMATIC1111's WebUI multiplies weighted embeddings.

    before, after: mean and deviation of the embeddings. Returns 1 where a mean is smaller than LEAST_MEAN deviations,
    as in small bases, because the ratio of such means is noise.
    """
    if any(abs(mean) <= LEAST_MEAN * deviation or mean == 0 for mean, deviation in (before, after)):
        return 1.0
    return before[0] / after[0]
