"""`fit --method full`: the whole UNet as the trainee, as in DreamBooth (Ruiz et al. 2022, arXiv:2208.12242)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from engine.errors import RequestError
from trainer.adapters.unet_weights import UnetWeights, write_unet_weights
from trainer.base.caption_files import prompt_of
from trainer.base.prompts import EmbeddingCache
from trainer.fitting.class_training import ClassTraining, Trainee
from trainer.fitting.prior import Prior
from trainer.fitting.settings import MethodSettings
from trainer.training.devices import Compute
from trainer.training.loop import Training

__all__ = ["FullTrainee", "choose_optimizer"]


def choose_optimizer(asked: str, compute: Compute) -> str:
    """Return the optimiser: adamw or adamw8bit. Raises RequestError if 8 bits are asked for and cannot be had.

    auto is adamw8bit on a GPU if the package bitsandbytes is installed, and adamw otherwise.
    """
    on_gpu = compute.device.type == "cuda"
    if asked == "adamw" or (asked == "auto" and not on_gpu):
        return "adamw"
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        missing = "the package bitsandbytes is not installed"
    else:
        missing = "" if on_gpu else f"the device {compute.device}"
    if asked == "auto":
        return "adamw" if missing else "adamw8bit"
    if missing:
        raise RequestError(
            "--optimizer adamw8bit",
            found=missing,
            expected="a GPU and the package bitsandbytes",
            fix="use --optimizer adamw, or pip install bitsandbytes on a machine with a GPU",
        )
    return "adamw8bit"


class FullTrainee(Trainee):
    """The UNet of the base as a trainee; see Trainee. Its weights are float32, also where it computes in bfloat16."""

    def __init__(self, training: ClassTraining, method: MethodSettings, prior: Prior | None) -> None:
        self._base, self._request, self._base_sha256 = training.base, training.request, training.base_sha256
        self.model = self._base.unet
        self._embeddings = EmbeddingCache(self._base)
        self.name = prompt_of(self._request.record.class_name)
        self.templates = (self._request.record.prompt,)
        self.prior = prior
        self.optimizer = choose_optimizer(method.optimizer, self._request.compute)
        self.subject = ("full", self.optimizer)
        # The UNet before the training is the one of the base, which every subject holds.
        self.weights = ()
        self.facts = {
            "method": "full",
            "optimizer": self.optimizer,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
        }

    def attached(self) -> AbstractContextManager[None]:
        """See Trainee. The base computes with its own UNet anyway, and keeps it."""
        return nullcontext()

    def context(self, prompts: list[str]) -> torch.Tensor:
        """See Trainee."""
        with self._request.compute.autocast():
            return self._embeddings(prompts)

    def write(self, path: Path, step: int, training: Training) -> None:
        """See Trainee."""
        record = self._request.record
        file = UnetWeights(self.model.state_dict(), record.class_name, step, record, self._base_sha256)
        write_unet_weights(path, file)
