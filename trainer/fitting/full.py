"""`fit --method full`: the whole UNet as the trainee, as in DreamBooth (Ruiz et al. 2022, arXiv:2208.12242)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from engine.errors import RequestError
from trainer.adapters.unet_weights import UnetWeights, write_unet_weights
from trainer.fitting.class_training import AdapterTrainee, ClassTraining
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


class FullTrainee(AdapterTrainee):
    """The UNet of the base as a trainee; see Trainee. Its weights are float32, also where it computes in bfloat16."""

    def __init__(self, training: ClassTraining, method: MethodSettings, prior: Prior | None) -> None:
        super().__init__(training, prior)
        self.model = self._base.unet
        self.optimizer = choose_optimizer(method.optimizer, self._request.compute)
        self.subject = ("full", self.optimizer)
        # The UNet before the training is the one of the base, which every subject holds.
        self.weights = ()
        self.facts = {
            "method": "full",
            "optimizer": self.optimizer,
            "parameters": self.parameters,
        }

    def attached(self) -> AbstractContextManager[None]:
        """See Trainee. The base computes with its own UNet anyway, and keeps it."""
        return nullcontext()

    def write(self, path: Path, step: int, training: Training) -> None:
        """See Trainee."""
        record = self._request.record
        file = UnetWeights(self.model.state_dict(), record.class_name, step, record, self._base_sha256)
        write_unet_weights(path, file)
