"""Captions: templates with [name] and [filewords], shuffled and dropped tags, and a cache of prompt embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.sampling.prompt_syntax import split_tags
from trainer.base.base import Base, encode_prompts

__all__ = ["CaptionReport", "Captions", "EmbeddingCache", "report_captions"]

SHOWN = 20
"""Largest number of cut captions that a record lists."""


@dataclass(frozen=True)
class Captions:
    """The captions of a training set. Tags are the parts of a filled template between commas."""

    name: str
    """Text for [name]."""
    templates: tuple[str, ...]
    filewords: tuple[str, ...]
    """Text for [filewords] of each picture."""
    shuffle_tags: bool = False
    tag_dropout: float = 0.0

    def draw(self, picture: int, generator: torch.Generator) -> str:
        """Return a caption of a picture, drawn at random from the templates and tags."""
        which = int(torch.randint(len(self.templates), (), generator=generator)) if len(self.templates) > 1 else 0
        text = self.templates[which].replace("[name]", self.name).replace("[filewords]", self.filewords[picture])
        if self.shuffle_tags or self.tag_dropout:
            tags = split_tags(text)
            kept = torch.rand(len(tags), generator=generator) >= self.tag_dropout
            tags = [tag for tag, keep in zip(tags, kept.tolist(), strict=True) if keep]
            if self.shuffle_tags:
                tags = [tags[i] for i in torch.randperm(len(tags), generator=generator).tolist()]
            text = ", ".join(tags)
        return text

    def whole(self) -> list[str]:
        """Return every filled template once, with all its tags in their order."""
        texts = (
            template.replace("[name]", self.name).replace("[filewords]", words)
            for template in self.templates
            for words in dict.fromkeys(self.filewords)
        )
        return list(dict.fromkeys(texts))


@dataclass(frozen=True)
class CaptionReport:
    """What the text encoder does not take of the captions as they were written."""

    captions: int
    """Number of different captions."""
    cut: dict[str, str]
    """What is used of captions that are too long, by caption: the first SHOWN."""
    cut_count: int
    unknown_words: tuple[str, ...]

    @property
    def warnings(self) -> list[str]:
        """One sentence for each kind."""
        said = []
        if self.cut:
            caption, used = next(iter(self.cut.items()))
            said.append(
                f"{self.cut_count} of {self.captions} captions are longer than the text encoder takes and were cut, "
                f"for example {caption!r} to {used!r}; the record lists them"
            )
        if self.unknown_words:
            said.append(
                f"the base never learnt these words of the captions: {', '.join(self.unknown_words)}; a small base "
                "knows only the words of the classes that it was trained on"
            )
        return said


def report_captions(base: Base, captions: list[str]) -> CaptionReport:
    """Return what of the captions does not reach the text encoder."""
    read = [base.read_prompt(caption) for caption in captions]
    cut = {found.prompt: found.used for found in read if found.used != found.prompt}
    unknown = dict.fromkeys(word for found in read for word in found.unknown)
    return CaptionReport(len(captions), dict(list(cut.items())[:SHOWN]), len(cut), tuple(unknown))


class EmbeddingCache:
    """Prompt embeddings (T, D) float32, each computed once.

    Shuffled tags make many different prompts, so the cache drops the oldest ones beyond `limit`.
    """

    def __init__(self, base: Base, limit: int = 4096) -> None:
        self._base, self._limit = base, limit
        self._known: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """Return the embeddings of the prompts: (len(prompts), T, D)."""
        new = list(dict.fromkeys(prompt for prompt in prompts if prompt not in self._known))
        if new:
            self._known.update(zip(new, encode_prompts(self._base, new).float(), strict=True))
        found = torch.stack([self._known[prompt] for prompt in prompts])
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]
        return found
