"""The crop and the prompts that suit the pictures, as the base itself sees them."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.progress import Progress
from trainer.adapting.settings import AdaptSettings
from trainer.adapting.state import Choices
from trainer.base.base import Base
from trainer.base.caption_files import prompt_of
from trainer.base.card import BaseCard
from trainer.base.suits import misfits
from trainer.fitting.nearest import SIGMAS, Nearest, nearest
from trainer.pictures.deep import DepthRange, open_picture
from trainer.pictures.folders import centre_square
from trainer.pictures.framing import SIDE, Shares, measure_shares
from trainer.training.devices import Compute

__all__ = ["choose"]


def choose(
    base: Base, classes: dict[str, list[Path]], settings: AdaptSettings, compute: Compute, progress: Progress
) -> Choices:
    """Return the crop of all pictures and the prompt of each class.

    All pictures get one crop, because they come from one microscope: 1, or the crop of the base's own pictures if the
    base removes noise from the cropped pictures better. A class starts at the prompt under which it does so best.
    classes: picture files of each class. Raises RequestError.
    """
    card = base.card
    depth = None if settings.depth_range is None else DepthRange(*settings.depth_range)
    candidates = {1.0, card.crop or 1.0} if settings.crop is None else {settings.crop}
    crops = sorted(candidates, reverse=True)
    known = card.prompts if settings.prompt is None else (settings.prompt,)
    if len(crops) == len(known) == 1 or not card.prompts:
        prompts = {name: settings.prompt or prompt_of(name) for name in classes}
        shares = measure_shares(chain(*_small(classes, crops[0], depth).values()))
        return Choices(crops[0], prompts, _reasons_of_crop(card, crops[0], shares, given=True))
    found: dict[str, Nearest] = {}
    places, total = count(1), len(classes) * len(crops) * len(SIGMAS)
    for name, paths in classes.items():
        pictures = {crop: _squares(paths, base.picture_side, crop, depth) for crop in crops}
        found[name] = nearest(base, pictures, known, compute, lambda: progress("choose", next(places), total))
    crop = min(crops, key=lambda crop: sum(one.loss(crop) for one in found.values()))
    small = _small(classes, crop, depth)
    prompts, reasons = {}, _reasons_of_crop(card, crop, measure_shares(chain(*small.values())), given=len(crops) == 1)
    if len(crops) > 1:
        losses = ", ".join(f"{sum(one.loss(at) for one in found.values()) / len(found):.3f} at {at:g}" for at in crops)
        reasons = (f"{reasons[0]}; mean loss of the base by crop: {losses}",)
    for name, one in found.items():
        ranked = sorted((loss, prompt) for (at, prompt), loss in one.losses.items() if at == crop)
        prompts[name] = ranked[0][1]
        words = f"{name} starts at the prompt {prompts[name]!r}"
        if len(ranked) > 1:
            words += f", the nearest of the base (loss {ranked[0][0]:.3f}; next {ranked[1][1]!r}: {ranked[1][0]:.3f})"
        unsuited = misfits(card, prompts[name], measure_shares(small[name]))
        reasons = (*reasons, words, *(f"warning: {name}: {text}" for text in unsuited))
    return Choices(crop, prompts, reasons)


def _squares(paths: list[Path], side: int, crop: float, depth: DepthRange | None) -> torch.Tensor:
    """Return pictures (N, 3, S, S) uint8."""
    stacked = np.stack([centre_square(open_picture(path, depth), side, crop)[..., :3] for path in paths])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _small(classes: dict[str, list[Path]], crop: float, depth: DepthRange | None) -> dict[str, list[NDArray[np.uint8]]]:
    """Return the pictures of each class at the size at which their framing is measured."""
    return {
        name: [centre_square(open_picture(path, depth), SIDE, crop) for path in paths]
        for name, paths in classes.items()
    }


def _reasons_of_crop(card: BaseCard, crop: float, shares: Shares | None, *, given: bool) -> tuple[str, ...]:
    words = "the whole centre square is used" if crop == 1 else f"the centre {crop:.0%} of each picture is used"
    if not given:
        words += (
            ", because the base knows such pictures better than the " + ("cropped" if crop == 1 else "whole") + " ones"
        )
    if shares is not None and card.nucleus_share is not None:
        low, _, high = card.nucleus_share
        words += (
            f"; the nucleus then covers {shares.median:.1%} of a picture (the base's pictures: {low:.1%} to {high:.1%})"
        )
    return (words,)
