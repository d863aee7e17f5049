"""Captions: templates with [name] and [filewords], shuffled and dropped tags, and a cache of prompt embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainer.base.base import Base, encode_prompts

__all__ = ["Captions", "EmbeddingCache"]


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
            tags = [tag.strip() for tag in text.split(",") if tag.strip()]
            kept = torch.rand(len(tags), generator=generator) >= self.tag_dropout
            tags = [tag for tag, keep in zip(tags, kept.tolist(), strict=True) if keep]
            if self.shuffle_tags:
                tags = [tags[i] for i in torch.randperm(len(tags), generator=generator).tolist()]
            text = ", ".join(tags)
        return text


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
