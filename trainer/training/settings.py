"""Settings of a training: its length, its optimiser and the hardware. This module does not import torch."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from trainer.training.schedule import Cosine, Schedule, StepList, constant, parse_steps

__all__ = ["CLIPPINGS", "PRECISIONS", "SCHEDULERS", "Hardware", "LoopSettings", "decaying_loop"]

CLIPPINGS = ("off", "value", "norm")
SCHEDULERS = ("constant", "cosine")
PRECISIONS = ("auto", "f32", "bf16")
OPTIMISER = "Optimiser"


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the training loop. The defaults are those of the thesis for Stable Diffusion 1.5.

    One backward pass sees `batch_size` pictures, and one step consists of `accumulation` backward passes. Gradients are
    not scaled before clipping.
    """

    PANEL: ClassVar[str] = "Training"

    steps: int = setting(20_000, help="Number of training steps.", within=Range(low=1))
    batch_size: int = setting(1, help="Pictures per backward pass.", within=Range(low=1))
    learning_rate: StepList = setting(
        constant(1e-5),
        flag="--learning-rate --lr",
        help="Learning rate, or a list of rate:step such as 1e-4:500,1e-5. Each rate holds until its step.",
        parser=functools.partial(parse_steps, "--learning-rate"),
        metavar="RATE",
        panel=OPTIMISER,
    )
    lr_scheduler: str = setting(
        "constant",
        help="Course of the learning rate (cosine falls to 5 % of --learning-rate)",
        choices=SCHEDULERS,
        panel=OPTIMISER,
    )
    lr_warmup_steps: int = setting(
        50, help="Steps of linear warm-up, for cosine only.", within=Range(low=0), panel=OPTIMISER
    )
    weight_decay: float = setting(0.01, help="Weight decay of AdamW.", within=Range(low=0), panel=OPTIMISER)
    accumulation: int = setting(
        1,
        help="Backward passes per step; their gradients are averaged.",
        flag="--gradient-accumulation",
        within=Range(low=1),
    )
    clipping: str = setting("off", help="Gradient clipping", choices=CLIPPINGS, panel=OPTIMISER)
    clip_at: StepList = setting(
        constant(0.1),
        help="Limit of gradient clipping, or a list of limit:step.",
        parser=functools.partial(parse_steps, "--clip-at"),
        metavar="LIMIT",
        panel=OPTIMISER,
    )
    ema_decay: float = setting(
        0.0,
        help="Decay of the moving average of the weights. 0 keeps no average. With an average, the "
        "training ends with the averaged weights.",
        within=Range(low=0, below=1),
        panel=OPTIMISER,
    )
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(low=0, high=2**63 - 1))
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the two moving averages of AdamW."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.lr_scheduler == "cosine" and len(self.learning_rate.pairs) > 1:
            raise RequestError(
                "--lr-scheduler cosine",
                found=f"--learning-rate {self.learning_rate}",
                expected="a single rate",
                fix="give one rate, or use --lr-scheduler constant",
            )

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a function of the step."""
        if self.lr_scheduler == "constant":
            return self.learning_rate
        return Cosine(self.learning_rate.pairs[0][0], max(1, self.lr_warmup_steps))

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.schedule.at(step, self.steps)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as records and checkpoints keep them: the schedule stands under `learning_rate`."""
        values = {**asdict(self), "learning_rate": asdict(self.schedule)}  # type: ignore[call-overload]
        return {name: value for name, value in values.items() if name not in ("lr_scheduler", "lr_warmup_steps")}

    def continues(self, other: dict[str, Any]) -> bool:
        """Return whether a training with these settings may resume a checkpoint with the settings `other`.

        The settings must be equal. With a constant rate the number of steps may differ, because no value depends on it.
        """
        mine = self.as_json()
        other = {"betas": (0.9, 0.999), **other}
        if self.lr_scheduler == "constant":
            mine, other = {**mine, "steps": 0}, {**other, "steps": 0}
        return mine == other


def decaying_loop(steps: int, batch_size: int, peak: float, *, warmup: int = 50, **rest: Any) -> LoopSettings:
    """Return a loop whose rate falls as a cosine and whose gradients are clipped to norm 1."""
    return LoopSettings(
        steps,
        batch_size,
        learning_rate=constant(peak),
        lr_scheduler="cosine",
        lr_warmup_steps=warmup,
        clipping="norm",
        clip_at=constant(1.0),
        **rest,
    )


@dataclass(frozen=True)
class Hardware:
    """Settings of the device and of what it spends memory on."""

    PANEL: ClassVar[str] = "Hardware"

    device: str = setting(
        "auto", help="Device: auto, cpu, or a GPU such as cuda:0. auto is the first GPU that torch can use, or the CPU."
    )
    precision: str = setting(
        "auto",
        help="Arithmetic of the networks (auto is bf16 on a GPU that supports it, and f32 otherwise)",
        choices=PRECISIONS,
    )
    gradient_checkpointing: bool = setting(False, help="Use less memory and more time.")
    compiled: bool = setting(
        False,
        help="Compile the UNet with torch.compile. The first step takes a minute or two, later steps are faster.",
        flag="--compile",
    )
