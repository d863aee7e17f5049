"""What a text encoder takes of a prompt: it has room for a number of tokens, and a small base knows few words.

The text encoder itself would cut a long prompt in silence, and spell an unknown word letter by letter with tokens that
no training has touched. The functions work on the encodings of the library `tokenizers`, whose offsets are places in
the prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.errors import RequestError
from engine.sampling.prompt_chunks import Chunk, Vocabulary, chunks_of
from engine.sampling.prompt_syntax import parse_prompt

__all__ = ["ReadPrompt", "caption_chunk", "read_prompt", "read_prompt_with", "unknown_words"]

FULL_VOCABULARY = 49408
"""Tokens of CLIP, which spells a rare word with tokens that it has learnt. A smaller vocabulary holds single words."""
SHOWN = 10
"""Largest number of unknown words that a warning lists."""


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt as the text encoder reads it."""

    prompt: str
    used: str
    """The prompt up to the last whole word for which there is room: the prompt itself if it fits."""
    unknown: tuple[str, ...]
    """Words of the prompt that are no token of a small vocabulary, each once."""
    room: int
    """Number of tokens for which the text encoder has room."""

    def warnings(self, subject: str) -> tuple[str, ...]:
        """Return one sentence for each thing that does not reach the text encoder as it was written."""
        said = []
        if self.used != self.prompt:
            said.append(
                f"{subject} is longer than the {self.room} tokens that the text encoder takes. "
                f"It was cut, and this is used and recorded: {self.used!r}"
            )
        if self.unknown:
            more = f" and {len(self.unknown) - SHOWN} more" if len(self.unknown) > SHOWN else ""
            said.append(
                f"{subject} has words that the base never learnt: {', '.join(self.unknown[:SHOWN])}{more}. "
                "A small base knows only the words of the classes that it was trained on"
            )
        return tuple(said)


def read_prompt(encode: Callable[[str], Any], prompt: str, room: int, vocabulary: int) -> ReadPrompt:
    """Return how the text encoder reads a prompt.

    Args:
        encode: Returns the tokenizers.Encoding of a text without special tokens, not truncated.
        prompt: The prompt.
        room: Number of tokens besides the special ones.
        vocabulary: Number of tokens of the tokenizer, without added ones.
    """
    encoding = encode(prompt)
    used, kept = prompt, len(encoding.ids)
    if kept > room:
        words = encoding.word_ids
        kept = next((place for place in range(room, 0, -1) if words[place] != words[place - 1]), room)
        used = prompt[: encoding.offsets[kept - 1][1]]
        # The beginning of a single word that is too long may take other tokens than the word does.
        while len(encode(used).ids) > room:
            used = used[:-1]
    return ReadPrompt(prompt, used, unknown_words(encode, prompt, vocabulary), room)


def unknown_words(encode: Callable[[str], Any], text: str, vocabulary: int) -> tuple[str, ...]:
    """Return the words that are no token of a small vocabulary, each once. Arguments as for read_prompt."""
    return () if vocabulary >= FULL_VOCABULARY else tuple(dict.fromkeys(_spelt_words(encode(text), text)))


def read_prompt_with(tokenizer: Any, prompt: str) -> ReadPrompt:
    """Return how the text encoder of a tokenizer of the library `transformers` reads a prompt or caption.

    Raises RequestError for a caption with weights that is wrong; see caption_chunk.
    """
    room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    encode = partial(_encoding, tokenizer)
    if caption_chunk(tokenizer, prompt) is None:
        return read_prompt(encode, prompt, room, tokenizer.vocab_size)
    words = " ".join(parse_prompt(prompt).texts())
    return ReadPrompt(prompt, prompt, unknown_words(encode, words, tokenizer.vocab_size), room)


def caption_chunk(tokenizer: Any, caption: str) -> Chunk | None:
    """Return the tokens and weights of a caption, or None for a caption that is nothing but text.

    A caption holds for all noise levels and is one chunk, so that only weights have a meaning. Raises RequestError for
    other syntax, for brackets that do not match, and for more tokens than the text encoder has room for.
    """
    subject = f"The caption {caption!r}"
    read = parse_prompt(caption, subject)
    if read.plain:
        return None
    if not read.holds:
        raise RequestError(
            subject,
            found="AND, BREAK, [a:b:0.5] or [a|b]",
            expected="text and weights, such as (x:1.2), because a caption holds for all noise levels",
            fix="remove these, or write \\[ and \\] for the signs",
        )
    ends = tokenizer("").input_ids
    vocabulary = Vocabulary(
        lambda text: _encoding(tokenizer, text).ids,
        ends[0],
        ends[-1],
        tokenizer.pad_token_id,
        None,
        tokenizer.model_max_length,
    )
    first, *more = chunks_of(read.parts[0].passages(0, 1), vocabulary)
    if more:
        raise RequestError(
            subject,
            found="a caption with weights that is too long",
            expected=f"at most {tokenizer.model_max_length - len(ends)} tokens",
            fix="shorten it",
        )
    return first


def _encoding(tokenizer: Any, text: str) -> Any:
    return tokenizer(text, add_special_tokens=False, verbose=False).encodings[0]


def _spelt_words(encoding: Any, text: str) -> list[str]:
    """Return the words that take several tokens."""
    places: dict[int, list[tuple[int, int]]] = {}
    for word, place in zip(encoding.word_ids, encoding.offsets, strict=True):
        places.setdefault(word, []).append(place)
    return [text[spelt[0][0] : spelt[-1][1]] for spelt in places.values() if len(spelt) > 1]
