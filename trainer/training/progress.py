"""Files that a training writes while it runs: snapshots and previews at intervals, TensorBoard, its cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from trainer.training.settings import LoopSettings

__all__ = ["LOSSES", "TrainingLog"]

LOSSES = "losses"
"""Folder of the files of `loss_every`."""


@dataclass(frozen=True)
class TrainingLog:
    """Settings of what a training writes while it runs. None means never."""

    PANEL: ClassVar[str] = "Output"

    save_every: int | None = setting(
        None, help="Steps between two snapshots of the weights in OUT/steps.", within=Range(low=1)
    )
    preview_every: int | None = setting(
        None, help="Steps between two preview pictures in OUT/previews.", within=Range(low=1)
    )
    loss_every: int | None = setting(
        None,
        help="Steps between two rows of OUT/losses/CLASS.csv, so that another program can watch the loss.",
        within=Range(low=1),
    )
    tensorboard: bool = setting(False, help="Write the loss and the learning rate to OUT/tensorboard.")
    usd_per_hour: float | None = setting(
        None,
        help="Price of the machine in US dollars per hour. The record then states the cost.",
        within=Range(low=0, below=math.inf),
    )

    def __post_init__(self) -> None:
        check_settings(self)
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
        """Return whether a snapshot is due after `done` steps."""
        return self.save_every is not None and done % self.save_every == 0

    def previews(self, done: int) -> bool:
        """Return whether a preview is due after `done` steps."""
        return self.preview_every is not None and done % self.preview_every == 0

    @contextmanager
    def opened(self, out: Path, name: str) -> Iterator[Callable[[int, float, float], None]]:
        """Yield a function that logs (steps done, loss, learning rate) where the settings ask for it."""
        with ExitStack() as opened:
            writer = None
            if self.tensorboard:
                writer = self._summary_writer()(str(out / "tensorboard" / name))
                opened.callback(writer.close)

            def add(done: int, loss: float, rate: float) -> None:
                if writer is not None:
                    writer.add_scalar("loss", loss, done)
                    writer.add_scalar("learning_rate", rate, done)
                if self.loss_every is not None and done % self.loss_every == 0:
                    _append(out / LOSSES / f"{name}.csv", f"{done},{loss:.6f},{rate:.6g}\n")

            yield add

    def costs(self, run: dict[str, Any], pictures: int, settings: LoopSettings) -> dict[str, Any]:
        """Return the number of epochs, the seconds per epoch and the cost, from the record of a training."""
        seen = settings.batch_size * settings.accumulation
        facts = {
            "epochs": round(run["steps_done"] * seen / pictures, 2),
            "seconds_per_epoch": round(run["seconds_per_step"] * pictures / seen, 2),
        }
        if self.usd_per_hour is not None:
            facts["usd"] = round(run["seconds"] / 3600 * self.usd_per_hour, 4)
        return facts


def _append(path: Path, row: str) -> None:
    """Add a row to a table of losses. A resumed training adds to what it wrote before."""
    path.parent.mkdir(exist_ok=True)
    begins = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write(f"step,loss,learning_rate\n{row}" if begins else row)
