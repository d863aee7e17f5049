"""Training one class on a base: what `fit` and `embed` share, from the pictures to the record."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.progress import Progress, StageProgress, silent, silent_stages
from trainer.base.base import Base, digest_of
from trainer.base.caption_files import prompt_of
from trainer.base.preview import draw_preview
from trainer.base.prompts import EmbeddingCache, report_captions
from trainer.fitting.material import Material, read_training_set
from trainer.fitting.prior import Prior
from trainer.fitting.settings import ClassTrainingSettings
from trainer.pictures.folders import expect_one_class
from trainer.training.devices import Compute, choose_compute
from trainer.training.loop import LossFunction, Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.record import ClassRecord, write_record

__all__ = ["AdapterTrainee", "ClassRequest", "ClassTraining", "Trainee"]


@dataclass(frozen=True)
class ClassRequest:
    """A request to train one class. The constructor checks the request. Raises RequestError."""

    data: Path
    """Prepared pictures of one class."""
    out: Path
    """Folder for `<class>.safetensors` and `<class>.json`."""
    settings: ClassTrainingSettings = field(default=ClassTrainingSettings())
    stop: threading.Event | None = None
    """When this event is set, the training stops and saves what it has learnt."""
    progress: Progress = silent
    warn: StageProgress = silent_stages
    """Receives a sentence for each thing that the training uses otherwise than it was written."""

    def __post_init__(self) -> None:
        expect_one_class(self.data)
        _ = self.record, self.compute

    @cached_property
    def record(self) -> ClassRecord:
        """The record of the class. Raises RequestError if a value breaks a rule."""
        return self.settings.record.record_of(self.data)

    @cached_property
    def compute(self) -> Compute:
        """The device and the precision. Raises RequestError if torch cannot use the device."""
        return choose_compute(self.settings.hardware)

    def with_used_prompt(self, base: Base) -> ClassRequest:
        """Return the request with the part of the class's prompt for which the text encoder has room."""
        read = base.read_prompt(self.record.prompt)
        if read.used == self.record.prompt:
            return self
        self.warn(read.warnings("The prompt of the class")[0])
        settings = self.settings
        return replace(self, settings=replace(settings, record=replace(settings.record, prompt=read.used)))


class Trainee(ABC):
    """What is trained: a hypernetwork, a LoRA, the vectors of new words, or the UNet of the base itself."""

    model: nn.Module
    name: str
    """Text for [name] in templates."""
    templates: tuple[str, ...]
    """Templates of the captions if the settings have none."""
    subject: tuple[object, ...]
    """Settings of the model. A checkpoint is only resumed with equal values."""
    weights: tuple[torch.Tensor, ...]
    """The weights before the training. A checkpoint is only resumed with equal values."""
    optimizer_state: dict[int, Any] | None = None
    """State of AdamW to continue from."""
    prior: Prior | None = None
    """Pictures of a wider class, whose loss is added."""
    optimizer: str = "adamw"
    """adamw or adamw8bit."""
    facts: dict[str, Any]
    """What the record says about the model."""

    @abstractmethod
    def attached(self) -> AbstractContextManager[None]:
        """Return a context in which the base uses the model."""

    @abstractmethod
    def context(self, prompts: list[str]) -> torch.Tensor:
        """Return the prompt embeddings (B, T, D)."""

    @abstractmethod
    def write(self, path: Path, step: int, training: Training) -> None:
        """Write the trained weights after `step` steps."""


class AdapterTrainee(Trainee):
    """What `fit` trains on the prompt of a class. Words of prompts are looked up in embeddings that do not change."""

    def __init__(self, training: ClassTraining, prior: Prior | None) -> None:
        self._base, self._request, self._base_sha256 = training.base, training.request, training.base_sha256
        self._embeddings = EmbeddingCache(self._base)
        self.name = prompt_of(self._request.record.class_name)
        self.templates = (self._request.record.prompt,)
        self.prior = prior

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def context(self, prompts: list[str]) -> torch.Tensor:
        """See Trainee."""
        with self._request.compute.autocast():
            return self._embeddings(prompts)


class ClassTraining:
    """One training of one class: pictures, output folder and the digests of the base."""

    def __init__(self, base: Base, request: ClassRequest) -> None:
        """Read the pictures and check the output folder. Raises RequestError; nothing is written."""
        self.base, self.request = base, request.with_used_prompt(base)
        self.data = read_training_set(base, request.data)
        self.outputs = Outputs(request.out, request.record.class_name)
        self.outputs.check(request.settings.output)
        self.base_sha256 = digest_of(base.unet)
        # The refiner changes only the previews, as the VAE's decoder does.
        parts = (base.vae, base.text_encoder, base.refiner)
        self._parts_sha256 = [digest_of(part) for part in parts if part is not None]

    def run(self, trainee: Trainee) -> dict[str, Any]:
        """Train, write the weights and the record, and return the record. Raises RequestError.

        A training that is already in the output folder is resumed or replaced, as the settings say.
        """
        request, settings, outputs = self.request, self.request.settings, self.outputs
        compute, record = request.compute, asdict(request.record)
        material = Material(
            self.base, self.data, trainee.name, trainee.templates, settings.options, settings.loop, compute
        )
        prior = trainee.prior
        kept = None if prior is None else prior.material(self.base, settings.options, settings.loop, compute)
        captions = report_captions(self.base, material.captions.whole())
        for words in captions.warnings:
            request.warn(words)
        subject = digest_parts(
            *material.subject,
            record,
            *trainee.subject,
            asdict(settings.options),
            self.base_sha256,
            *self._parts_sha256,
            compute.precision,
            *trainee.weights,
            *(() if prior is None or kept is None else (*kept.subject, prior.prompt, prior.weight)),
        )
        unet = compute.ready(self.base.unet, frozen=trainee.model is not self.base.unet)
        trainee.model.to(compute.device)

        loss_of = _loss_function(trainee, material, kept, unet, compute)
        with trainee.attached():
            if settings.output.overwrite:
                outputs.remove()
            training = Training(
                outputs.name,
                trainee.model,
                loss_of,
                settings.loop,
                outputs.checkpoints,
                subject=subject,
                eight_bit=trainee.optimizer == "adamw8bit",
            )
            if trainee.optimizer_state is not None and not training.losses:
                groups = training.optimizer.state_dict()["param_groups"]
                training.optimizer.load_state_dict({"state": trainee.optimizer_state, "param_groups": groups})
            with settings.log.opened(request.out, outputs.name) as log_step:

                def after_step(done: int) -> None:
                    log_step(done, training.losses[-1], settings.loop.rate_at(done - 1))
                    self._leave(trainee, training, material, done)

                run = training.run(progress=request.progress, after_step=after_step, stop=request.stop)
            trainee.write(outputs.weights, run["steps_done"], training)
        facts = {
            "record": record,
            **trainee.facts,
            "prepared_pictures": len(self.data.pictures),
            **({} if prior is None else prior.as_json()),
            "options": asdict(settings.options),
            "captions": asdict(captions),
            "compute": compute.as_json(),
            "base_sha256": self.base_sha256,
            "training": {**run, **settings.log.costs(run, len(material), settings.loop)},
        }
        write_record(outputs.record, **facts)
        return facts

    def _leave(self, trainee: Trainee, training: Training, material: Material, done: int) -> None:
        """Write the snapshot and the preview that are due after a step."""
        log = self.request.settings.log
        if log.saves(done):
            with training.averaged():
                trainee.write(self.outputs.snapshot(done), done, training)
        if log.previews(done):
            with training.averaged(), self.request.compute.autocast(), torch.no_grad():
                caption = material.captions.draw(0, torch.Generator().manual_seed(0))
                context = trainee.context([caption, ""]).float()
                draw_preview(self.base, context, self.outputs.preview(done))


def _loss_function(
    trainee: Trainee, material: Material, kept: Material | None, unet: Any, compute: Compute
) -> LossFunction:
    """Return the loss of a batch: of the class, and with its weight of the prior, whose material is `kept`."""

    def loss_on(batches: Material, number: int, generator: torch.Generator) -> torch.Tensor:
        rows, prompts = batches.batch(number, generator)
        context = trainee.context(prompts)
        with compute.autocast():
            return batches.loss(unet, rows, context, generator)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        loss = loss_on(material, number, generator)
        if trainee.prior is None or kept is None:
            return loss
        return loss + trainee.prior.weight * loss_on(kept, number, generator)

    return loss_of
