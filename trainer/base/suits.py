"""Whether pictures and settings suit a base, by its card. This module does not import torch."""

from __future__ import annotations

from trainer.base.card import BaseCard
from trainer.pictures.framing import Shares

__all__ = ["misfits"]


def misfits(card: BaseCard, prompt: str, shares: Shares | None) -> list[str]:
    """Return a sentence for each way in which a class does not suit the base. An empty list means that it does.

    shares: of the class's prepared pictures, or None if they were not measured.
    """
    found = []
    if card.prompts and prompt not in card.prompts:
        found.append(
            f"the base does not know the prompt {prompt!r}, so training starts far from the class; it knows: "
            f"{', '.join(card.prompts)} (--prompt)"
        )
    if card.nucleus_share is not None and shares is not None:
        low, _, high = card.nucleus_share
        if not low <= shares.median <= high:
            size = "small" if shares.median < low else "large"
            kept = "" if card.crop is None else f", which kept the centre {card.crop:.0%} of theirs"
            found.append(
                f"the cells look {size} for the base: the nucleus covers {shares.median:.1%} of a picture (median), "
                f"and {low:.1%} to {high:.1%} in the base's pictures{kept}; prepare the pictures with another --crop"
            )
    return found
