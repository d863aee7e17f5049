"""What a training leaves on its way: snapshots and previews every so many steps, TensorBoard, its cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from trainer.training.loop import LoopSettings

__all__ = ["TrainingLog"]


@dataclass
class TrainingLog:
    """save_every, preview_every: steps, None is never. usd_per_hour: the machine's price."""

    save_every: int | None = None
    preview_every: int | None = None
    tensorboard: bool = False
    usd_per_hour: float | None = None
    _writer: Any = None

    def __post_init__(self) -> None:
        for flag, value in (("--save-every", self.save_every), ("--preview-every", self.preview_every)):
            if value is not None and value < 1:
                raise RequestError(flag, found=str(value), expected="at least 1 step", fix="change it")
        if self.usd_per_hour is not None and not 0 <= self.usd_per_hour < float("inf"):
            raise RequestError("--usd-per-hour", found=str(self.usd_per_hour), expected="a price", fix="change it")
        if self.tensorboard:
            self._summary_writer()

    @staticmethod
    def _summary_writer() -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RequestError(
                "--tensorboard", found=str(error), expected="the package tensorboard", fix="pip install tensorboard"
            ) from error
        return SummaryWriter

    def saves(self, done: int) -> bool:
        """Whether a snapshot is due."""
        return self.save_every is not None and done % self.save_every == 0

    def previews(self, done: int) -> bool:
        """Whether a preview is due."""
        return self.preview_every is not None and done % self.preview_every == 0

    @contextmanager
    def opened(self, out: Path, name: str) -> Iterator[None]:
        """While this is open, `add` goes to `out/tensorboard/<name>`."""
        if self.tensorboard:
            self._writer = self._summary_writer()(str(out / "tensorboard" / name))
        try:
            yield
        finally:
            if self._writer is not None:
                self._writer.close()

    def add(self, done: int, loss: float, rate: float) -> None:
        """A step's loss and learning rate."""
        if self._writer is not None:
            self._writer.add_scalar("loss", loss, done)
            self._writer.add_scalar("learning_rate", rate, done)

    def costs(self, run: dict[str, Any], pictures: int, settings: LoopSettings) -> dict[str, Any]:
        """Time of an epoch, epochs, and the price of it all, from a training's record."""
        seen = settings.batch_size * settings.accumulation
        facts = {
            "epochs": round(run["steps_done"] * seen / pictures, 2),
            "seconds_per_epoch": round(run["seconds_per_step"] * pictures / seen, 2),
        }
        if self.usd_per_hour is not None:
            facts["usd"] = round(run["seconds"] / 3600 * self.usd_per_hour, 4)
        return facts
