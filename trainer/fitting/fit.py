"""`fit`: one class on a base: a hypernetwork, a LoRA, or the whole UNet."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from engine.locks import locked_folder
from trainer.base.base import Base
from trainer.fitting.class_training import AdapterTrainee, ClassRequest, ClassTraining
from trainer.fitting.full import FullTrainee
from trainer.fitting.lora import LoraTrainee
from trainer.fitting.prior import Prior, read_prior
from trainer.fitting.settings import MethodSettings, NetworkSettings
from trainer.hypernetwork.files import (
    HypernetworkFile,
    read_hypernetwork,
    read_optimizer,
    write_hypernetwork,
    write_webui,
)
from trainer.hypernetwork.network import Hypernetwork, attached, attention_dimensions
from trainer.training.loop import Training

__all__ = ["fit"]


def fit(
    base: Base,
    request: ClassRequest,
    network: NetworkSettings | None = None,
    method: MethodSettings | None = None,
) -> dict[str, Any]:
    """Train on prepared pictures of one class and return the record.

    Writes `out/<class>.safetensors` and `out/<class>.json`, and of a hypernetwork with `webui` also `.pt` and
    `.pt.optim`. A training that starts from the WebUI's `.pt` also continues its optimizer, if `.pt.optim` is beside
    it. With the method full, the UNet of the base is trained itself.

    Raises RequestError if anything does not fit; nothing is written then.
    """
    network, method = network or NetworkSettings(), method or MethodSettings()
    with locked_folder(request.out):
        training = ClassTraining(base, request)
        kept = read_prior(base, method.prior)
        torch.manual_seed(request.settings.loop.seed)
        if method.method == "hypernetwork":
            return training.run(_HypernetworkTrainee(training, network, kept))
        return training.run((LoraTrainee if method.method == "lora" else FullTrainee)(training, method, kept))


class _HypernetworkTrainee(AdapterTrainee):
    """A hypernetwork as a trainee; see Trainee."""

    model: Hypernetwork

    def __init__(self, training: ClassTraining, network: NetworkSettings, prior: Prior | None) -> None:
        super().__init__(training, prior)
        if network.start_from is not None:
            self.model = read_hypernetwork(network.start_from).hypernetwork
            self.optimizer_state = read_optimizer(network.start_from, self.model)
        else:
            self.model = Hypernetwork(network.dimensions or attention_dimensions(self._base.unet), network.structure)
        self.subject = (asdict(self.model.settings), self.model.dimensions)
        self.weights = tuple(self.model.state_dict().values())
        self.facts = {
            "hypernetwork": asdict(self.model.settings),
            "dimensions": self.model.dimensions,
            "parameters": self.parameters,
        }

    def attached(self) -> AbstractContextManager[None]:
        """See Trainee."""
        return attached(self._base.unet, self.model)

    def write(self, path: Path, step: int, training: Training) -> None:
        """See Trainee."""
        record = self._request.record
        file = HypernetworkFile(self.model, record.class_name, step, record, self._base_sha256)
        write_hypernetwork(path, file)
        if self._request.settings.output.webui:
            write_webui(path.with_suffix(".pt"), file, training.optimizer.state_dict())
