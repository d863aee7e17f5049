"""The card and the record of a base that `pretrain` makes: what is measured, and what its start says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.base.caption_files import prompt_of
from trainer.base.card import NOT_STATED, BaseCard
from trainer.base.shipped import SHIPPED, record_of_shipped
from trainer.pictures.dataset import PictureSet
from trainer.pictures.framing import measure_shares
from trainer.pictures.prepare import crop_of
from trainer.pretraining.settings import CardSettings
from trainer.training.record import RECORD, read_record

__all__ = ["make_card", "record_of_base"]

MEASURED = 1000
"""Largest number of pictures whose framing is measured."""


def make_card(settings: CardSettings, folders: list[Path], data: PictureSet, start: BaseCard | None) -> BaseCard:
    """Return the card of a base that was trained on these pictures.

    A base that continues from another keeps its prompts, and credits both. Raises RequestError.
    """
    pictures = ", ".join(f"{count} of {name}" for name, count in data.counts.items())
    description = settings.description or f"a small latent-diffusion base of cytosynth, trained on pictures: {pictures}"
    if start is not None and settings.description is None:
        description = f"{start.description}; trained further on pictures: {pictures}"
    shares = measure_shares(picture.permute(1, 2, 0).numpy() for picture in data.sample(MEASURED))
    prompts = [*(start.prompts if start else ()), *map(prompt_of, data.class_names)]
    card = BaseCard(
        description,
        licence=_both(NOT_STATED if start is None else start.licence, settings.licence),
        attribution=_both(NOT_STATED if start is None else start.attribution, settings.attribution),
        prompts=tuple(dict.fromkeys(prompts)),
        crop=settings.crop or crop_of(folders),
        nucleus_share=None if shares is None else (shares.low, shares.median, shares.high),
        guidance_scale=settings.guidance_scale,
        guidance_interval=settings.guidance_interval,
    )
    return card if start is None else replace(card, fit_preset=start.fit_preset)


def _both(of_start: str | None, given: str | None) -> str:
    """Return what the start and the user state, each once."""
    found = dict.fromkeys(word for word in (of_start, given) if word and word != NOT_STATED)
    return "; ".join(found) or NOT_STATED


def record_of_base(start: str | Path) -> dict[str, Any]:
    """Return the record of the base that another base started from. It is empty if the base has none."""
    if str(start) in SHIPPED:
        return record_of_shipped(str(start))
    return read_record(Path(start) / RECORD)
