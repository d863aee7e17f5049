"""What a training of a class leaves in its folder, and whose it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RequestError

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """The files of one class in `folder`."""

    folder: Path
    name: str

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def weights(self) -> Path:
        """What the training ends with."""
        return self.folder / f"{self.name}.safetensors"

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Raise RequestError for a training that stands there, unless it is resumed or replaced. Touches nothing."""
        above = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if not above.is_dir():
            raise RequestError(f"The folder {self.folder}", found="a file", expected="a folder", fix="name another")
        checkpoint = self.checkpoints / f"{self.name}.pt"
        standing = [path for path in (checkpoint, self.weights) if path.exists()]
        if standing and not overwrite and (not resume or checkpoint not in standing):
            ways = "replace it with --overwrite, or name another --out"
            raise RequestError(
                f"The folder {self.folder}",
                found=f"a training of {self.name}: {standing[0]}",
                expected="none" if not resume else "its checkpoint, to resume",
                fix=ways if resume else f"continue it with --resume, {ways}",
            )

    def remove(self) -> None:
        """Remove every file of the class."""
        shutil.rmtree(self.folder / "tensorboard" / self.name, ignore_errors=True)
        for path in (
            *(self.folder / f"{self.name}{end}" for end in (".safetensors", ".json", ".pt", ".pt.optim")),
            *(self.checkpoints / f"{self.name}{end}" for end in (".pt", ".csv")),
            *(self.folder / "steps").glob(f"{self.name}-[0-9]*"),
            *(self.folder / "previews").glob(f"{self.name}-[0-9]*"),
        ):
            path.unlink(missing_ok=True)
