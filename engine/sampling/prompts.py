"""What a text encoder takes of a prompt: it has room for a number of tokens, and a small base knows few words.

The text encoder itself would cut a long prompt in silence, and spell an unknown word letter by letter with tokens that
no training has touched. The functions work on the encodings of the library `tokenizers`, whose offsets are places in
the prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["ReadPrompt", "read_prompt", "read_prompt_with"]

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
    unknown = [] if vocabulary >= FULL_VOCABULARY else _spelt_words(encoding, prompt)
    return ReadPrompt(prompt, used, tuple(dict.fromkeys(unknown)), room)


def read_prompt_with(tokenizer: Any, prompt: str) -> ReadPrompt:
    """Return how the text encoder of a tokenizer of the library `transformers` reads a prompt."""
    return read_prompt(
        lambda text: tokenizer(text, add_special_tokens=False, verbose=False).encodings[0],
        prompt,
        tokenizer.model_max_length - tokenizer.num_special_tokens_to_add(),
        tokenizer.vocab_size,
    )


def _spelt_words(encoding: Any, text: str) -> list[str]:
    """Return the words that take several tokens."""
    places: dict[int, list[tuple[int, int]]] = {}
    for word, place in zip(encoding.word_ids, encoding.offsets, strict=True):
        places.setdefault(word, []).append(place)
    return [text[spelt[0][0] : spelt[-1][1]] for spelt in places.values() if len(spelt) > 1]
