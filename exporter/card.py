"""The card of a base (`base.json`) in a merged folder: defaults of a new bundle, licence and attribution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from exporter.settings import BundleSettings

__all__ = ["THESIS", "base_facts", "defaults_of", "differing_settings", "read_card"]

CARD_FILE = "base.json"
THESIS = {"num_inference_steps": 20, "guidance_scale": 7.0, "batch_size": 8}
"""Settings of a bundle whose base has no card: those of the thesis, except that the thesis used batch size 1."""
OF_THE_CARD = ("num_inference_steps", "guidance_scale", "guidance_interval")
NOT_STATED = "not stated"


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card in a merged folder, or an empty dict if an earlier version made the folder. Raises RequestError.

    The values are checked with the manifest.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The card of the base {path}",
            found=f"unreadable ({error})",
            expected="the card that `python -m trainer merge` wrote",
            fix="merge the class again",
        ) from error
    return card


def defaults_of(card: dict[str, Any], settings: BundleSettings) -> dict[str, Any]:
    """Return the default settings of a new bundle: those that were given, else the card's, else the thesis's."""
    of_card = {name: card[name] for name in OF_THE_CARD if card.get(name) is not None}
    return {**THESIS, **of_card, **settings.defaults}


def base_facts(card: dict[str, Any], description: str | None) -> dict[str, Any]:
    """Return the fields of the manifest that describe the base: in words, and its card if there is one."""
    words = description or card.get("description") or NOT_STATED
    return {"base": words, **({"base_card": card} if card else {})}


def differing_settings(card: dict[str, Any], settings: BundleSettings) -> list[str]:
    """Return a sentence for each given default that differs from what suits the base."""
    found = []
    for name in OF_THE_CARD:
        given, good = settings.defaults.get(name), card.get(name)
        if None not in (given, good) and given != good:
            flag = "--steps" if name == "num_inference_steps" else f"--{name.replace('_', '-')}"
            found.append(f"{flag} {_words(given)} instead of {_words(good)}, which suits the base")
    return found


def _words(value: Any) -> str:
    return " ".join(f"{number:g}" for number in (value if isinstance(value, list) else [value]))
