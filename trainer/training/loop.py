"""The loop that every training shares: AdamW, accumulation, clipping, EMA, checkpoints, loss log."""

from __future__ import annotations

import csv
import hashlib
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import CytosynthError, RequestError
from engine.files import replace_file
from trainer.training.schedule import Cosine, Schedule, StepList

__all__ = ["CLIPPINGS", "LoopSettings", "Training", "digest_parts", "run_loop"]

LossFunction = Callable[[int, torch.Generator], torch.Tensor]
CLIPPINGS = ("off", "value", "norm")


@dataclass(frozen=True)
class LoopSettings:
    """`batch_size` pictures are one backward pass, `accumulation` passes are one step. Gradients are clipped as they
    are: nothing scales them before."""

    steps: int
    batch_size: int
    learning_rate: Schedule
    weight_decay: float = 0.01
    accumulation: int = 1
    clipping: str = "norm"
    """One of CLIPPINGS."""
    clip_at: Schedule = field(default_factory=lambda: StepList(((1.0, float("inf")),)))
    ema_decay: float = 0.0
    """0 is no moving average; otherwise the model ends with the averaged weights."""
    seed: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW."""

    def __post_init__(self) -> None:
        if self.clipping not in CLIPPINGS:
            raise RequestError(
                "--clipping", found=self.clipping, expected=f"one of {', '.join(CLIPPINGS)}", fix="choose one of these"
            )
        counts = (self.steps, self.batch_size, self.accumulation)
        if min(counts) < 1 or not 0 <= self.seed < 2**63 or not 0 <= self.ema_decay < 1 or not self.weight_decay >= 0:
            values = f"{self.steps} steps, batch {self.batch_size}, accumulation {self.accumulation}"
            rest = f"seed {self.seed}, EMA {self.ema_decay:g}, weight decay {self.weight_decay:g}"
            expected = "steps, batch and accumulation above 0, seed and decays at least 0, EMA below 1"
            raise RequestError("The training", found=f"{values}, {rest}", expected=expected, fix="change these")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def continues(self, other: dict[str, Any]) -> bool:
        """Whether a run of these settings may go on from a checkpoint of others: equal, but that one may have been
        meant to end sooner where no value depends on the end."""
        mine = self.as_json()
        other = {"betas": (0.9, 0.999), **other}
        if not isinstance(self.learning_rate, Cosine):
            mine, other = {**mine, "steps": 0}, {**other, "steps": 0}
        return mine == other


def digest_parts(*parts: object) -> str:
    """SHA-256 of tensors by their bytes and of anything else by its words, for a training's subject."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            digest.update(part.contiguous().numpy().tobytes())
        digest.update(f"{type(part).__name__} {part.shape if isinstance(part, torch.Tensor) else part}\n".encode())
    return digest.hexdigest()


class Training:
    """A training that can be cut off at any step and goes on bit by bit from `folder/<name>.pt`, on the CPU.

    `loss_of(batch, generator)` returns a scalar of the 0-based batch, `accumulation` of which make a step; what it
    draws comes from `generator`, or from torch's own state as dropout does; both are in the checkpoint. `rates` names
    parts of the model that learn so many times faster, whose gradients are clipped on their own. `subject` is a hash
    of all that the run depends on beside its settings; a checkpoint of another one is refused. Raises RequestError.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        loss_of: LossFunction,
        settings: LoopSettings,
        folder: Path,
        *,
        subject: str,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        self.name, self.model, self.settings = name, model, settings
        self._loss_of, self._folder, self._subject = loss_of, folder, subject
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # A group for each rate; all are in one, which is the module as a whole, where none is given.
        groups: dict[str, list[nn.Parameter]] = {}
        for path, parameter in model.named_parameters():
            if parameter.requires_grad:
                part = path.split(".")[0]
                groups.setdefault(part if part in (rates or {}) else "", []).append(parameter)
        self._groups = [(group, (rates or {}).get(part, 1.0)) for part, group in groups.items()]
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group, _ in self._groups],
            lr=settings.learning_rate.at(0, settings.steps),
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._average = [p.detach().clone() for p in self._trained] if settings.ema_decay else []
        self._generator = torch.Generator().manual_seed(settings.seed)
        torch.manual_seed(settings.seed)
        self.losses: list[float] = []
        self._seconds_before = 0.0
        self._began = time.monotonic()
        self._checkpoint = folder / f"{name}.pt"
        if self._checkpoint.exists():
            self._continue()

    @property
    def seconds(self) -> float:
        """Spent on all steps so far, those before a cut included."""
        return self._seconds_before + time.monotonic() - self._began

    def _continue(self) -> None:
        path = self._checkpoint
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            settings, subject = state["settings"], state["subject"]
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise RequestError(
                f"The checkpoint {path}", found=f"unreadable ({error})", expected="a checkpoint", fix="remove it"
            ) from error
        fix = "ask for the same training, or train into another folder"
        if not self.settings.continues(settings):
            mine = self.settings.as_json()
            found = {key: value for key, value in settings.items() if value != mine.get(key)}
            expected = ", ".join(f"{key} {mine.get(key)}" for key in found)
            raise RequestError(f"The checkpoint {path}, its settings", found=str(found), expected=expected, fix=fix)
        if subject != self._subject:
            what = f"The checkpoint {path}, its data, base and model"
            raise RequestError(what, found=str(subject), expected=self._subject, fix=fix)
        if len(state["losses"]) > self.settings.steps:
            raise RequestError(
                f"The checkpoint {path}",
                found=f"{len(state['losses'])} steps done",
                expected=f"at most {self.settings.steps}, as asked",
                fix="ask for more --steps, or begin anew with --overwrite",
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available() and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self._average, self.losses, self._seconds_before = state["average"], state["losses"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint and the losses so far."""
        state = {
            "settings": self.settings.as_json(),
            "subject": self._subject,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "average": self._average,
            "losses": self.losses,
            "seconds": self.seconds,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        with replace_file(self._checkpoint) as part:
            torch.save(state, part)
        with replace_file(self._folder / f"{self.name}.csv") as part, part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss", "learning_rate"])
            writer.writerows(
                (index + 1, f"{loss:.6f}", f"{self._rate(index):.6g}") for index, loss in enumerate(self.losses)
            )

    def _rate(self, step: int) -> float:
        return self.settings.learning_rate.at(step, self.settings.steps)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While this is open, the model is as it will be used: without dropout, and with the averaged weights where
        there is an average."""
        kept = [parameter.detach().clone() for parameter in self._trained] if self._average else []
        self._put(self._average)
        self.model.eval()
        try:
            yield
        finally:
            self._put(kept)
            self.model.train()

    @torch.no_grad()
    def _put(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._trained, values, strict=False):
            parameter.copy_(value)

    def run(
        self,
        *,
        progress: Callable[[str, int, int, float, float], None] = lambda name, step, steps, loss, rate: None,
        after_step: Callable[[int], None] = lambda done: None,
        stop: threading.Event | None = None,
        checkpoint_every_s: float = 180.0,
    ) -> dict[str, Any]:
        """Take the steps that are left, or those until `stop` is set; the model ends with the averaged weights. Raises
        CytosynthError after a step whose loss is no finite number: the model is spoilt then, its checkpoint is not.

        `after_step(steps done)` is called between steps. Returns the record: settings, steps, seconds, the mean loss
        of the first and the last 5 % of the steps.
        """
        settings = self.settings
        self._began = saved = time.monotonic()
        self.model.train()
        for step in range(len(self.losses), settings.steps):
            if stop is not None and stop.is_set():
                break
            self.losses.append(self._step(step))
            progress(self.name, step + 1, settings.steps, self.losses[-1], self._rate(step))
            if time.monotonic() - saved > checkpoint_every_s:
                self.save()
                saved = time.monotonic()
            after_step(step + 1)
        self.save()
        self._put(self._average)
        self.model.eval()
        edge = max(1, len(self.losses) // 20)
        return {
            **settings.as_json(),
            "steps_done": len(self.losses),
            "seconds": round(self.seconds, 1),
            "seconds_per_step": round(self.seconds / max(1, len(self.losses)), 4),
            "loss_first": sum(self.losses[:edge]) / edge,
            "loss_last": sum(self.losses[-edge:]) / edge,
        }

    def _step(self, step: int) -> float:
        settings = self.settings
        for group, (_, factor) in zip(self.optimizer.param_groups, self._groups, strict=True):
            group["lr"] = self._rate(step) * factor
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for i in range(settings.accumulation):
            loss = self._loss_of(step * settings.accumulation + i, self._generator) / settings.accumulation
            loss.backward()
            losses.append(loss.detach())
        limit = settings.clip_at.at(step, settings.steps)
        clipping = settings.clipping if math.isfinite(limit) else "off"
        for parameters, _ in self._groups:
            if clipping == "norm":
                nn.utils.clip_grad_norm_(parameters, limit)
            elif clipping == "value":
                nn.utils.clip_grad_value_(parameters, limit)
        self.optimizer.step()
        if self._average:
            # A short average at first, so that the random start is forgotten.
            decay = min(settings.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._average, [parameter.detach() for parameter in self._trained], 1 - decay)
        # Looked at last: until here a GPU computes while Python prepares what comes next.
        total = sum(loss.item() for loss in losses)
        if not math.isfinite(total):
            raise CytosynthError(
                f"Training {self.name} at step {step}",
                found=f"a loss of {total}",
                expected="a finite loss",
                fix="lower --learning-rate",
            )
        return total


def run_loop(
    name: str,
    model: nn.Module,
    loss_of: LossFunction,
    settings: LoopSettings,
    folder: Path,
    *,
    subject: str,
    rates: Mapping[str, float] | None = None,
    progress: Callable[..., None] = lambda *values: None,
    checkpoint_every_s: float = 180.0,
) -> dict[str, Any]:
    """Train to the end, from the checkpoint if there is one; returns the record. See Training."""
    training = Training(name, model, loss_of, settings, folder, subject=subject, rates=rates)
    return training.run(progress=progress, checkpoint_every_s=checkpoint_every_s)
