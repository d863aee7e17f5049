"""`fit`: one hypernetwork for one class on a frozen base."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from trainer.base.base import Base, digest_of
from trainer.base.preview import draw_preview
from trainer.base.prompts import EmbeddingCache
from trainer.fitting.material import FitOptions, Material, read_training_set
from trainer.hypernetwork.files import (
    HypernetworkFile,
    read_hypernetwork,
    read_optimizer,
    write_hypernetwork,
    write_webui,
)
from trainer.hypernetwork.network import Hypernetwork, attached, attention_dimensions
from trainer.hypernetwork.structure import HypernetworkSettings
from trainer.training.devices import Compute
from trainer.training.loop import LoopSettings, Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.progress import TrainingLog
from trainer.training.record import ClassRecord, write_record

__all__ = ["fit"]


def fit(
    base: Base,
    data_folder: Path,
    out: Path,
    *,
    record: ClassRecord,
    settings: LoopSettings,
    structure: HypernetworkSettings | None = None,
    dimensions: list[int] | None = None,
    options: FitOptions | None = None,
    compute: Compute | None = None,
    log: TrainingLog | None = None,
    start_from: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    webui: bool = False,
    stop: threading.Event | None = None,
    progress: Callable[..., None] = lambda *values: None,
) -> dict[str, Any]:
    """Train on prepared pictures of one class; write `out/<class>.safetensors` and `out/<class>.json`.

    dimensions: by default all of the base's. start_from: a hypernetwork to go on from, its optimizer too where the
    WebUI's lies beside it. webui: also `.pt` and `.pt.optim`. A run that is in `out` is continued with `resume`,
    replaced with `overwrite`, and otherwise refused. When `stop` is set, what is trained so far is saved.

    Returns the record. Raises RequestError where anything does not fit; nothing is written then.
    """
    options, compute, log = options or FitOptions(), compute or Compute(), log or TrainingLog()
    data = read_training_set(base, data_folder)
    outputs = Outputs(out, record.class_name)
    outputs.check(resume=resume, overwrite=overwrite)
    torch.manual_seed(settings.seed)
    optimizer_state: dict[int, Any] | None = None
    if start_from is not None:
        hypernetwork = read_hypernetwork(start_from).hypernetwork
        optimizer_state = read_optimizer(start_from, hypernetwork)
    else:
        hypernetwork = Hypernetwork(dimensions or attention_dimensions(base.unet), structure)
    name = record.class_name.replace("_", " ")
    material = Material(base, data, name, (record.prompt,), options, settings, compute)
    base_sha256 = digest_of(base.unet)
    subject = digest_parts(
        *material.subject,
        asdict(record),
        asdict(hypernetwork.settings),
        hypernetwork.dimensions,
        asdict(options),
        base_sha256,
        digest_of(base.vae),
        digest_of(base.text_encoder),
        compute.precision,
        *hypernetwork.state_dict().values(),
    )
    embeddings = EmbeddingCache(base)
    unet = compute.ready(base.unet)
    hypernetwork.to(compute.device)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        rows, prompts = material.batch(number, generator)
        with compute.autocast():
            return material.loss(unet, rows, embeddings(prompts), generator)

    with attached(base.unet, hypernetwork):
        if overwrite:
            outputs.remove()
        training = Training(record.class_name, hypernetwork, loss_of, settings, outputs.checkpoints, subject=subject)
        if optimizer_state is not None and not training.losses:
            groups = training.optimizer.state_dict()["param_groups"]
            training.optimizer.load_state_dict({"state": optimizer_state, "param_groups": groups})

        def write(path: Path, step: int) -> None:
            file = HypernetworkFile(hypernetwork, record.class_name, step, record, base_sha256)
            write_hypernetwork(path, file)
            if webui:
                write_webui(path.with_suffix(".pt"), file, training.optimizer.state_dict())

        def after_step(done: int) -> None:
            log.add(done, training.losses[-1], settings.learning_rate.at(done - 1, settings.steps))
            if log.saves(done):
                with training.averaged():
                    write(out / "steps" / f"{record.class_name}-{done:06d}.safetensors", done)
            if log.previews(done):
                with training.averaged(), compute.autocast():
                    context = embeddings([material.captions.draw(0, torch.Generator().manual_seed(0)), ""])
                    draw_preview(base, context, out / "previews" / f"{record.class_name}-{done:06d}.png")

        with log.opened(out, record.class_name):
            run = training.run(progress=progress, after_step=after_step, stop=stop)
        write(outputs.weights, run["steps_done"])
    facts = {
        "record": asdict(record),
        "hypernetwork": asdict(hypernetwork.settings),
        "dimensions": hypernetwork.dimensions,
        "parameters": sum(parameter.numel() for parameter in hypernetwork.parameters()),
        "prepared_pictures": len(data.pictures),
        "options": asdict(options),
        "compute": compute.as_json(),
        "base_sha256": base_sha256,
        "training": {**run, **log.costs(run, len(material), settings)},
    }
    write_record(out / f"{record.class_name}.json", **facts)
    return facts
