"""Settings of `adapt` beside those of `fit`. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.options import Range, check_settings, setting
from trainer.base.card import expect_words
from trainer.pictures.prepare import PrepareSettings
from trainer.training.record import ORIGINS

__all__ = ["AdaptSettings"]


@dataclass(frozen=True)
class AdaptSettings:
    """What `adapt` does with the pictures, and what it records about them."""

    PANEL: ClassVar[str] = "Pictures"

    crop: float | None = setting(
        None,
        help="Share of the centre square to keep. Default: 1, or the crop of the base's own pictures if the cells then "
        "look more like the base's.",
        within=Range(above=0, high=1),
    )
    prompt: str | None = setting(
        None, help="Prompt that training starts at. Default: for each class the prompt of the base that is nearest."
    )
    n: int = setting(100, flag="--n", help="Pictures per class, reached by augmentation.", within=Range(low=2))
    flip: bool = setting(True, help="Mirror pictures. Use --no-flip if classes may not be mirrored.")
    multiplier: float = setting(1.0, help="Strength of the hypernetworks.", within=Range(above=0, high=4))
    depth_range: tuple[float, float] | None = setting(
        None, help="LO HI: values of pictures with more than 8 bits per channel that become 0 and 255."
    )
    origin: str = setting(ORIGINS[0], help="Origin of the pictures", choices=ORIGINS)
    licence: str | None = setting(None, help='Licence of your pictures. Default: recorded as "not stated".')
    attribution: str | None = setting(None, help='Name to credit for your pictures. Default: "not stated".')
    work: Path | None = setting(
        None, help="Folder for what the stages leave, which also holds sheet.png. Default: OUT-work."
    )

    def __post_init__(self) -> None:
        check_settings(self)
        PrepareSettings(depth_range=self.depth_range)
        expect_words(prompt=self.prompt, licence=self.licence, attribution=self.attribution)
