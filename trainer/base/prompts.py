"""Captions: templates with [name] and [filewords], tags shuffled and dropped, embeddings kept once they are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.errors import RequestError
from trainer.base.base import Base, encode_prompts

__all__ = ["Captions", "EmbeddingCache", "filewords_of", "read_templates"]


@dataclass(frozen=True)
class Captions:
    """What a picture is called in a step. Tags are the parts of the filled prompt between commas."""

    name: str
    """For [name]."""
    templates: tuple[str, ...]
    filewords: tuple[str, ...]
    """For [filewords], by picture."""
    shuffle_tags: bool = False
    tag_dropout: float = 0.0

    def draw(self, picture: int, generator: torch.Generator) -> str:
        """A caption of a picture."""
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
    """Prompt embeddings (T, D) float32, each computed once. Shuffled tags make many prompts: the oldest go first."""

    def __init__(self, base: Base, limit: int = 4096) -> None:
        self._base, self._limit = base, limit
        self._known: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """(len(prompts), T, D)."""
        new = list(dict.fromkeys(prompt for prompt in prompts if prompt not in self._known))
        if new:
            self._known.update(zip(new, encode_prompts(self._base, new).float(), strict=True))
        found = torch.stack([self._known[prompt] for prompt in prompts])
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]
        return found


def read_templates(path: Path) -> tuple[str, ...]:
    """One template a line; blank lines are skipped. Raises RequestError where there is none."""
    try:
        lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The templates {path}", found=f"unreadable ({error})", expected="a text file", fix="check the path"
        ) from error
    if not lines:
        raise RequestError(
            f"The templates {path}", found="no line with text", expected="one template a line", fix="write some"
        )
    return lines


def filewords_of(picture: Path) -> str:
    """The caption file beside a picture (`x.txt` of `x.png`), or the words of its name without leading numbers."""
    caption = picture.with_suffix(".txt")
    if caption.is_file():
        try:
            return caption.read_text(encoding="utf-8").strip()
        except ValueError as error:
            raise RequestError(
                f"The caption {caption}", found=f"unreadable ({error})", expected="UTF-8 text", fix="convert it"
            ) from error
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"^[\d\W_]+", "", picture.stem)))
