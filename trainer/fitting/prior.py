"""Prior preservation of DreamBooth: pictures of a wider class that the trained model must still draw.

The loss is L(class) + weight * L(prior) (Ruiz et al. 2022, arXiv:2208.12242, equation 2). The pictures are made by the
base beforehand, for example with `engine generate`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from engine.errors import RequestError
from trainer.base.base import Base
from trainer.base.caption_files import prompt_of
from trainer.fitting.material import Material, read_training_set
from trainer.fitting.settings import FitOptions, PriorSettings
from trainer.pictures.dataset import PictureSet
from trainer.training.devices import Compute
from trainer.training.settings import LoopSettings

__all__ = ["Prior", "read_prior"]


@dataclass(frozen=True)
class Prior:
    """The pictures, their prompt, and the weight of their loss."""

    pictures: PictureSet
    prompt: str
    weight: float

    def material(self, base: Base, options: FitOptions, settings: LoopSettings, compute: Compute) -> Material:
        """Encode the pictures. Return their batches, under the prompt alone."""
        plain = replace(options, templates=None, shuffle_tags=False, tag_dropout=0.0, alpha_weight=False)
        return Material(base, self.pictures, self.prompt, (self.prompt,), plain, settings, compute)

    def as_json(self) -> dict[str, Any]:
        """Return what the record of a training states."""
        return {"prior": {"pictures": len(self.pictures.pictures), "prompt": self.prompt, "weight": self.weight}}


def read_prior(base: Base, settings: PriorSettings) -> Prior | None:
    """Return the prior, or None without pictures. Raises RequestError for pictures that do not suit the base."""
    if settings.prior_pictures is None:
        if settings.prior_prompt is not None:
            raise RequestError(
                "--prior-prompt",
                found="no --prior-pictures",
                expected="a folder of pictures for the prompt",
                fix="add --prior-pictures, or leave out --prior-prompt",
            )
        return None
    pictures = read_training_set(base, settings.prior_pictures)
    prompt = settings.prior_prompt or prompt_of(settings.prior_pictures.resolve().name)
    return Prior(pictures, base.read_prompt(prompt).used, settings.prior_weight)
