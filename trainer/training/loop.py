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
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from engine.errors import CytosynthError, RequestError
from engine.files import replace_file
from engine.progress import Progress, silent
from trainer.training.settings import LoopSettings

__all__ = ["LossFunction", "Training", "digest_parts"]

LossFunction = Callable[[int, torch.Generator], torch.Tensor]


def digest_parts(*parts: object) -> str:
    """Return the SHA-256 of the bytes of tensors and of the text of everything else: the subject of a training."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            digest.update(part.contiguous().numpy().tobytes())
        digest.update(f"{type(part).__name__} {part.shape if isinstance(part, torch.Tensor) else part}\n".encode())
    return digest.hexdigest()


def _adamw(groups: list[dict[str, Any]], settings: LoopSettings, eight_bit: bool) -> torch.optim.Optimizer:
    """Return AdamW, fused or with moments in 8 bits."""
    values: dict[str, Any] = {"lr": settings.rate_at(0), "betas": settings.betas, "weight_decay": settings.weight_decay}
    if eight_bit:
        from bitsandbytes.optim import AdamW8bit

        return cast(torch.optim.Optimizer, AdamW8bit(groups, **values))
    return torch.optim.AdamW(groups, fused=True, **values)


class Training:
    """A training that can be interrupted at any step. On the CPU, it resumes bit for bit from `folder/<name>.pt`.

    Args:
        loss_of: Returns the scalar loss of a batch, counted from 0; a step consists of `accumulation` batches. Its
            random numbers must come from the generator or from torch's global state, as dropout's do. Checkpoints hold
            both.
        subject: Hash of everything that the training depends on, except its settings. A checkpoint with another subject
            is refused.
        rates: Factors on the learning rate of parts of the model, by name. The gradients of these parts are clipped
            separately.
        eight_bit: Whether AdamW keeps its moments in 8 bits (Dettmers et al. 2021), with the package bitsandbytes.

    Raises RequestError if the checkpoint does not fit.
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
        eight_bit: bool = False,
    ) -> None:
        self.name, self.model, self.settings = name, model, settings
        self._loss_of, self._folder, self._subject = loss_of, folder, subject
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # One group per factor. Without factors, the only group is the whole model.
        groups: dict[str, list[nn.Parameter]] = {}
        for path, parameter in model.named_parameters():
            if parameter.requires_grad:
                part = path.split(".")[0]
                groups.setdefault(part if part in (rates or {}) else "", []).append(parameter)
        self._groups = [(group, (rates or {}).get(part, 1.0)) for part, group in groups.items()]
        self.optimizer = _adamw([{"params": group} for group, _ in self._groups], settings, eight_bit)
        self._average = [p.detach().clone() for p in self._trained] if settings.ema_decay else []
        self._generator = torch.Generator().manual_seed(settings.seed)
        torch.manual_seed(settings.seed)
        self.losses: list[float] = []
        self._seconds_before = 0.0
        self._began = time.monotonic()
        self._checkpoint = folder / f"{name}.pt"
        if self._checkpoint.exists():
            self._resume()

    @property
    def seconds(self) -> float:
        """Seconds spent on all steps so far, including those before an interruption."""
        return self._seconds_before + time.monotonic() - self._began

    def _resume(self) -> None:
        path = self._checkpoint
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            settings, subject = state["settings"], state["subject"]
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise RequestError(
                f"The checkpoint {path}", found=f"unreadable ({error})", expected="a checkpoint", fix="remove the file"
            ) from error
        fix = "use the options of the first run, or train into another folder"
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
                expected=f"at most {self.settings.steps}, the number of --steps",
                fix="raise --steps, or start again with --overwrite",
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
                (index + 1, f"{loss:.6f}", f"{self.settings.rate_at(index):.6g}")
                for index, loss in enumerate(self.losses)
            )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """While the context is open, put the model into its final form: no dropout, and averaged weights if any."""
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
        progress: Progress = silent,
        after_step: Callable[[int], None] = lambda done: None,
        stop: threading.Event | None = None,
        checkpoint_every_s: float = 180.0,
    ) -> dict[str, Any]:
        """Train the remaining steps, or until `stop` is set. The model ends with the averaged weights.

        after_step: called after each step with the number of steps done. What it changes in the model is part of the
            step's checkpoint.
        Returns the record: settings, steps, seconds, and the mean loss of the first and the last 5 % of the steps.
        Raises CytosynthError if the loss is not finite. The model is then unusable, but its checkpoint is intact.
        """
        settings = self.settings
        self._began = saved = time.monotonic()
        self.model.train()
        for step in range(len(self.losses), settings.steps):
            if stop is not None and stop.is_set():
                break
            self.losses.append(self._step(step))
            progress(self.name, step + 1, settings.steps, self.losses[-1], self.settings.rate_at(step))
            after_step(step + 1)
            if time.monotonic() - saved > checkpoint_every_s:
                self.save()
                saved = time.monotonic()
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
            group["lr"] = self.settings.rate_at(step) * factor
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
            # The average is short at first, so that it forgets the random start.
            decay = min(settings.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._average, [parameter.detach() for parameter in self._trained], 1 - decay)
        # Reading the loss waits for the GPU, so it comes last: until here the GPU works while Python prepares.
        total = sum(loss.item() for loss in losses)
        if not math.isfinite(total):
            raise CytosynthError(
                f"Training {self.name} at step {step}",
                found=f"a loss of {total}",
                expected="a finite loss",
                fix="lower --learning-rate",
            )
        return total
