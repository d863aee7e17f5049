"""`fit`: one hypernetwork for one class on a frozen base."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engine.errors import RequestError
from trainer.bases import Base, digest_of
from trainer.dataset import PictureSet, read_set
from trainer.devices import Compute
from trainer.hypernet import Hypernetwork, attached, attention_dimensions
from trainer.interchange import HypernetworkFile, read_hypernetwork, read_optimizer, write_hypernetwork, write_webui
from trainer.latents import LATENT_SAMPLING, LatentSet, encode_posteriors, read_alpha
from trainer.loop import LoopSettings, Training, digest_parts
from trainer.objective import denoising_loss
from trainer.outputs import Outputs
from trainer.preview import draw_preview
from trainer.progress import TrainingLog
from trainer.prompts import Captions, EmbeddingCache, filewords_of
from trainer.record import ClassRecord, write_record
from trainer.structure import HypernetworkSettings

__all__ = ["EpochOrder", "FitOptions", "fit", "read_training_set"]


@dataclass(frozen=True)
class FitOptions:
    """What changes a training beside its loop's settings. The defaults are the thesis's: none of it."""

    latent_sampling: str = "once"
    """One of LATENT_SAMPLING."""
    symmetries: bool = False
    """Every picture in the eight symmetries of the square."""
    snr_gamma: float | None = None
    templates: tuple[str, ...] | None = None
    """In place of the class's prompt."""
    shuffle_tags: bool = False
    tag_dropout: float = 0.0
    alpha_weight: bool = False

    def __post_init__(self) -> None:
        rules = {
            "--latent-sampling": (
                self.latent_sampling in LATENT_SAMPLING,
                self.latent_sampling,
                f"one of {', '.join(LATENT_SAMPLING)}",
            ),
            "--snr-gamma": (self.snr_gamma is None or self.snr_gamma > 0, self.snr_gamma, "above 0"),
            "--tag-dropout": (0 <= self.tag_dropout < 1, self.tag_dropout, "a probability below 1"),
        }
        for flag, (kept, found, expected) in rules.items():
            if not kept:
                raise RequestError(flag, found=str(found), expected=expected, mend="change it")


class EpochOrder:
    """Rows of a data set in epochs without repetition, each shuffled by (seed, epoch) alone."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._known: dict[int, torch.Tensor] = {}

    def batch(self, number: int) -> torch.Tensor:
        """The rows of the 0-based batch, which may reach over the end of an epoch."""
        places = range(number * self._batch_size, (number + 1) * self._batch_size)
        return torch.stack([self._epoch(place // self._rows)[place % self._rows] for place in places])

    def _epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self._known:
            # Batches move forward; one epoch back is all that a batch over an end needs.
            self._known = {known: order for known, order in self._known.items() if known >= epoch - 1}
            generator = torch.Generator().manual_seed((self._seed * 1_000_003 + epoch) % 2**63)
            self._known[epoch] = torch.randperm(self._rows, generator=generator)
        return self._known[epoch]


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
    symmetries = range(8 if options.symmetries else 1)
    captions = Captions(
        record.class_name.replace("_", " "),
        options.templates or (record.prompt,),
        tuple(filewords_of(path) for path in data.paths) * len(symmetries),
        options.shuffle_tags,
        options.tag_dropout,
    )
    weights = read_alpha(data, symmetries, base.unet.config.sample_size) if options.alpha_weight else None
    base_sha256 = digest_of(base.unet)
    subject = digest_parts(
        data.pictures,
        str(data.paths and captions.filewords),
        asdict(record),
        asdict(hypernetwork.settings),
        hypernetwork.dimensions,
        asdict(options),
        base_sha256,
        digest_of(base.vae),
        digest_of(base.text_encoder),
        compute.precision,
        "" if weights is None else weights,
        *hypernetwork.state_dict().values(),
    )
    latents = LatentSet(
        *encode_posteriors(base.vae, data.pictures, symmetries, compute.device),
        options.latent_sampling,
        weights,
        settings.seed,
    )
    embeddings = EmbeddingCache(base)
    order = EpochOrder(len(latents), settings.batch_size, settings.seed)
    unet = compute.ready(base.unet)
    hypernetwork.to(compute.device)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        rows = order.batch(number)
        prompts = [captions.draw(int(row), generator) for row in rows]
        with compute.autocast():
            return denoising_loss(
                unet,
                base.scheduler,
                latents.draw(rows, generator),
                embeddings(prompts),
                generator,
                snr_gamma=options.snr_gamma,
                weights=None if latents.weights is None else latents.weights[rows],
            )

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
                    context = embeddings([captions.draw(0, torch.Generator().manual_seed(0)), ""])
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
        "training": {**run, **log.costs(run, len(latents), settings)},
    }
    write_record(out / f"{record.class_name}.json", **facts)
    return facts


def read_training_set(base: Base, folder: Path) -> PictureSet:
    """Prepared pictures of one class, of the base's size. Raises RequestError."""
    data = read_set([folder])
    if len(data.class_names) != 1:
        raise RequestError(
            f"The picture folder {folder}",
            found=f"{len(data.class_names)} classes: {', '.join(data.class_names)}",
            expected="pictures of one class",
            mend=f"name one of its sub-folders, such as {folder / data.class_names[0]}",
        )
    if data.size != base.picture_side:
        raise RequestError(
            f"The pictures of {folder}",
            found=f"{data.size} x {data.size} pixels",
            expected=f"{base.picture_side} x {base.picture_side}, the base's size",
            mend=f"prepare them with --size {base.picture_side}",
        )
    return data
