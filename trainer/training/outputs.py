"""Files that the training of a class leaves in its folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.errors import RequestError
from engine.options import setting
from trainer.training.progress import LOSSES

__all__ = ["OutputSettings", "Outputs"]


@dataclass(frozen=True)
class OutputSettings:
    """Settings of the output folder: what happens to an earlier training, and which formats are written."""

    PANEL: ClassVar[str] = "Output"

    webui: bool = setting(
        False,
        help="Also write the files of AUTOMATIC1111's WebUI: .pt, and .pt.optim of a hypernetwork.",
        flag="--webui",
    )
    resume: bool = setting(False, help="Resume from the last checkpoint if there is one.")
    overwrite: bool = setting(False, help="Replace an earlier training of this class in OUT.")


@dataclass(frozen=True)
class Outputs:
    """The files of one class in `folder`."""

    folder: Path
    name: str

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def weights(self) -> Path:
        """The file of the trained weights."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def latents(self) -> Path:
        """The latents that a training draws before its first step, if it does."""
        return self.checkpoints / f"{self.name}.safetensors"

    @property
    def record(self) -> Path:
        """The record of the training."""
        return self.folder / f"{self.name}.json"

    def snapshot(self, step: int) -> Path:
        """Return the file of the weights after `step` steps."""
        return self.folder / "steps" / f"{self.name}-{step:06d}.safetensors"

    def preview(self, step: int) -> Path:
        """Return the file of the preview after `step` steps."""
        return self.folder / "previews" / f"{self.name}-{step:06d}.png"

    def check(self, settings: OutputSettings) -> None:
        """Raise RequestError if the folder holds a training that is neither resumed nor replaced. Writes nothing."""
        above = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if not above.is_dir():
            raise RequestError(
                f"The folder {self.folder}", found="a file", expected="a folder", fix="choose another folder"
            )
        checkpoint = self.checkpoints / f"{self.name}.pt"
        existing = [path for path in (checkpoint, self.weights, self.record) if path.exists()]
        if existing and not settings.overwrite and (not settings.resume or checkpoint not in existing):
            ways = "replace it with --overwrite, or choose another --out"
            raise RequestError(
                f"The folder {self.folder}",
                found=f"a training of {self.name}: {existing[0]}",
                expected="its checkpoint, to resume" if settings.resume else "no training of this class",
                fix=ways if settings.resume else f"resume it with --resume, {ways}",
            )

    def remove(self) -> None:
        """Remove every file of the class."""
        shutil.rmtree(self.folder / "tensorboard" / self.name, ignore_errors=True)
        for path in (
            *(self.folder / f"{self.name}{end}" for end in (".safetensors", ".json", ".pt", ".pt.optim")),
            *(self.checkpoints / f"{self.name}{end}" for end in (".pt", ".csv", ".safetensors")),
            self.folder / LOSSES / f"{self.name}.csv",
            *(self.folder / "steps").glob(f"{self.name}-[0-9]*"),
            *(self.folder / "previews").glob(f"{self.name}-[0-9]*"),
        ):
            path.unlink(missing_ok=True)
