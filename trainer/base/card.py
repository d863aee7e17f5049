"""The card of a base: what a user's pictures have to match, good settings, licence and attribution.

It is the file `base.json` in the folder of a base. `pretrain` writes it, `merge` carries it into merged folders, and
the exporter takes the defaults of a bundle from it. This module does not import torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.files import write_json

__all__ = [
    "CARD_FILE",
    "FIT_PRESET_NAMES",
    "NOT_STATED",
    "STABLE_DIFFUSION",
    "BaseCard",
    "expect_words",
    "read_card",
    "unknown_base",
    "write_card",
]

CARD_FILE = "base.json"
NOT_STATED = "not stated"
FIT_PRESET_NAMES = ("small", "sd15")
"""Names of the settings of `fit`; see trainer.fitting.presets."""


@dataclass(frozen=True)
class BaseCard:
    """What a base tells its users."""

    description: str
    licence: str = NOT_STATED
    """Licence of the weights, or of the pictures that they were trained on."""
    attribution: str = NOT_STATED
    """Names to credit."""
    fit_preset: str = "small"
    """One of FIT_PRESET_NAMES."""
    prompts: tuple[str, ...] = ()
    """Prompts that the base was trained on. Empty for a base that knows any text."""
    crop: float | None = None
    """Share of the centre square that the training pictures kept. None if it is not known."""
    nucleus_share: tuple[float, float, float] | None = None
    """Share of a training picture that its nucleus covers: 5th percentile, median and 95th percentile. See
    trainer.pictures.framing. None if it was not measured."""
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    guidance_interval: tuple[float, float] | None = None
    """Sigmas between which guidance applies. None applies it everywhere."""

    def __post_init__(self) -> None:
        shares = self.nucleus_share
        interval = self.guidance_interval
        rules = {
            **{name: _is_text(getattr(self, name)) for name in ("description", "licence", "attribution")},
            "fit_preset": self.fit_preset in FIT_PRESET_NAMES,
            "prompts": all(_is_text(prompt) for prompt in self.prompts),
            "crop": self.crop is None or 0 < self.crop <= 1,
            "nucleus_share": shares is None or (len(shares) == 3 and 0 < shares[0] <= shares[1] <= shares[2] <= 1),
            "num_inference_steps": 1 <= self.num_inference_steps <= 1000,
            "guidance_scale": 0 <= self.guidance_scale <= 100,
            "guidance_interval": interval is None or (len(interval) == 2 and 0 <= interval[0] <= interval[1]),
        }
        for name, kept in rules.items():
            if not kept:
                raise ValueError(f"{name} is {getattr(self, name)!r}")


def expect_words(**given: str | None) -> None:
    """Raise RequestError for an option that was given without words. The names are those of the fields."""
    for name, text in given.items():
        if text is not None and not _is_text(text):
            raise RequestError(
                f"--{name.replace('_', '-')}", found=repr(text), expected="some text", fix="change the value"
            )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


STABLE_DIFFUSION = BaseCard(
    "Stable Diffusion 1.x, or a model derived from it",
    licence="CreativeML Open RAIL-M",
    attribution="Rombach, Blattmann, Lorenz, Esser, Ommer (2022), High-Resolution Image Synthesis with Latent "
    "Diffusion Models; CompVis, Stability AI and Runway",
    fit_preset="sd15",
)
"""The card of a base without `base.json` that has the structure of Stable Diffusion 1.x. The licence also binds
derived models."""


def unknown_base() -> BaseCard:
    """Return the card of a small base without `base.json`, such as a base of an earlier version."""
    return BaseCard(NOT_STATED)


def read_card(folder: Path) -> BaseCard | None:
    """Return the card in the folder of a base, or None if the folder has none. Raises RequestError."""
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return BaseCard(**values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RequestError(
            f"The card of the base {path}",
            found=f"unreadable ({error})",
            expected=f"a JSON object with some of {', '.join(field.name for field in fields(BaseCard))}",
            fix="copy the base again, or correct the value",
        ) from error


def write_card(card: BaseCard, folder: Path) -> None:
    """Write the card into the folder of a base."""
    write_json(folder / CARD_FILE, as_json(card))


def as_json(card: BaseCard) -> dict[str, Any]:
    """Return the card as plain values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(card).items()}
