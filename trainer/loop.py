"""The loop that every training shares: AdamW, warm-up and cosine decay, clipping, EMA, checkpoints, loss log."""

from __future__ import annotations

import csv
import hashlib
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import CytosynthError, RequestError

__all__ = ["LoopSettings", "digest_parts", "run_loop"]

LossFunction = Callable[[int, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class LoopSettings:
    """learning_rate rises linearly over `warmup` steps, then falls as a cosine to `final_share` of itself."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 50
    final_share: float = 0.05
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    """0 is no moving average; otherwise the model ends with the averaged weights."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.learning_rate <= 0 or not 0 <= self.seed < 2**63:
            values = f"{self.steps} steps, batch {self.batch_size}, learning rate {self.learning_rate}"
            expected = "each above 0, the seed at least 0"
            raise RequestError(
                "The training", found=f"{values}, seed {self.seed}", expected=expected, mend="change these"
            )

    def rate(self, step: int) -> float:
        """Share of the learning rate at a step (0-based)."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress))


def digest_parts(*parts: object) -> str:
    """SHA-256 of tensors by their bytes and of anything else by its words, for `run_loop`'s subject."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            digest.update(part.contiguous().numpy().tobytes())
        digest.update(f"{type(part).__name__} {part.shape if isinstance(part, torch.Tensor) else part}\n".encode())
    return digest.hexdigest()


def _read_checkpoint(path: Path, settings: LoopSettings, subject: str) -> dict[str, Any]:
    """Raises RequestError unless the checkpoint is whole and of the same run."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        found = {"settings": state["settings"], "data, base and model": state.get("subject")}
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise RequestError(
            f"The checkpoint {path}", found=f"unreadable ({error})", expected="a checkpoint", mend="remove it"
        ) from error
    expected = {"settings": asdict(settings), "data, base and model": subject}
    for what, value in expected.items():
        if found[what] != value:
            raise RequestError(
                f"The checkpoint {path}, its {what}",
                found=str(found[what]),
                expected=str(value),
                mend="ask for the same training, or train into another folder",
            )
    return state


def run_loop(
    name: str,
    model: nn.Module,
    loss_of: LossFunction,
    settings: LoopSettings,
    folder: Path,
    *,
    subject: str,
    progress: Callable[[str, int, int, float], None] = lambda name, step, steps, loss: None,
    checkpoint_every_s: float = 180.0,
) -> dict[str, Any]:
    """Train the parameters of `model` that require gradients.

    `loss_of(step, generator)` returns a scalar; all randomness comes from `generator`, so a run that was cut off and
    goes on from `folder/<name>.pt` continues where its last checkpoint was. `subject` is a hash of all that the run
    depends on beside its settings; a checkpoint of another one is refused. Losses go to `folder/<name>.csv`.
    Returns the record: settings, seconds, the mean loss of the first and the last 5 % of the steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = [parameter.detach().clone() for parameter in trained] if settings.ema_decay else []
    generator = torch.Generator().manual_seed(settings.seed)
    checkpoint = folder / f"{name}.pt"
    losses: list[float] = []
    seconds_before = 0.0
    if checkpoint.exists():
        state = _read_checkpoint(checkpoint, settings, subject)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        average, losses, seconds_before = state["average"], state["losses"], state["seconds"]
    started = saved = time.monotonic()

    def save() -> None:
        state = {
            "settings": asdict(settings),
            "subject": subject,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "average": average,
            "losses": losses,
            "seconds": seconds_before + time.monotonic() - started,
        }
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    model.train()
    for step in range(len(losses), settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * settings.rate(step)
        loss = loss_of(step, generator)
        if not torch.isfinite(loss):
            raise CytosynthError(
                f"Training {name} at step {step}",
                found=f"a loss of {loss.item()}",
                expected="a finite loss",
                mend="lower --learning-rate",
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        optimizer.step()
        if average:
            # The usual warm-up of the average, so that the first random weights are forgotten.
            decay = min(settings.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [parameter.detach() for parameter in trained], 1 - decay)
        losses.append(loss.item())
        progress(name, step + 1, settings.steps, losses[-1])
        if time.monotonic() - saved > checkpoint_every_s:
            save()
            saved = time.monotonic()
    save()
    with torch.no_grad():
        for parameter, averaged in zip(trained, average, strict=False):
            parameter.copy_(averaged)
    model.eval()
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        writer.writerows((index + 1, f"{loss:.6f}") for index, loss in enumerate(losses))
    edge = max(1, len(losses) // 20)
    return {
        **asdict(settings),
        "seconds": round(seconds_before + time.monotonic() - started, 1),
        "loss_first": sum(losses[:edge]) / edge,
        "loss_last": sum(losses[-edge:]) / edge,
    }
