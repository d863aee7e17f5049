"""Tags of networks in prompts, such as <lora:name:0.8>, as in AUTOMATIC1111's WebUI."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from engine.errors import RequestError

__all__ = ["KINDS", "NETWORK", "Adapter", "read_tags"]

NETWORK = re.compile(r"<(\w+):([^<>]*)>")
"""A tag such as <hypernet:name:1> or <lora:name:1>: its kind, and its arguments."""
KINDS = {"lora": "lora", "lyco": "lora", "hypernet": "hypernet"}
"""Kinds of adapters by the word of a tag. Other words in angle brackets are text."""


@dataclass(frozen=True)
class Adapter:
    """A hypernetwork, a LoRA or a trained UNet with its weight: what a tag asks for, or what a class was merged of."""

    kind: str
    """hypernet, lora or unet."""
    name: str
    weight: float = 1.0

    def __str__(self) -> str:
        return f"<{self.kind}:{self.name}:{self.weight:g}>"


def read_tags(text: str, subject: str = "--prompt") -> tuple[str, tuple[Adapter, ...]]:
    """Return a prompt without its tags of adapters, and the adapters. Raises RequestError for a tag that is wrong.

    subject: what an error names.
    """
    found: list[Adapter] = []

    def taken(match: re.Match[str]) -> str:
        kind = KINDS.get(match.group(1))
        if kind is None:
            return match.group()
        name, _, weight = match.group(2).partition(":")
        try:
            adapter = Adapter(kind, name.strip(), float(weight) if weight else 1.0)
        except ValueError:
            adapter = Adapter(kind, "", 0)
        if not adapter.name or not math.isfinite(adapter.weight):
            raise RequestError(
                subject,
                found=f"the tag {match.group()[:80]}",
                expected="a name and one weight, as in <lora:name:0.8>",
                fix="correct the tag, or leave it out",
            )
        found.append(adapter)
        return ""

    rest = NETWORK.sub(taken, text)
    return (" ".join(rest.split()) if found else text), tuple(found)
