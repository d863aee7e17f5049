"""Trainings of new classes: `python -m trainer adapt` in the data folder, one at a time."""

from __future__ import annotations

import csv
import secrets
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.serve.page.children import Child
from engine.serve.page.uploads import dropped
from engine.serve.service import Service

__all__ = ["LEAST", "ClassRequest", "Training", "Trainings"]

LEAST = 12
"""Number of pictures from which on a class can be trained."""
BUNDLE = "manifest.json"
EVERY = 20
"""Steps between two values of the loss, and between two previews."""


@dataclass(frozen=True)
class ClassRequest:
    """A class to train."""

    pictures: tuple[Path, ...]
    name: str
    licence: str
    attribution: str
    origin: str


class Training:
    """One training: its folder and its child process."""

    def __init__(self, folder: Path, name: str, child: Child) -> None:
        self.folder, self.name, self.child = folder, name, child

    @property
    def bundle(self) -> Path:
        """The folder of the bundle, which is there at the end."""
        return self.folder / self.name

    @property
    def _fitted(self) -> Path:
        return self.folder / f"{self.name}-work" / "hypernetworks"

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Steps and losses so far."""
        path = self._fitted / "losses" / f"{self.name}.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 3]
        return [(int(row[0]), float(row[1])) for row in rows[1:]]

    @property
    def previews(self) -> list[Path]:
        """Pictures that were drawn during the training, in order."""
        return sorted((self._fitted / "previews").glob(f"{self.name}-[0-9]*.png"))

    @property
    def sheet(self) -> Path | None:
        """Real cells above synthetic ones, which is there at the end."""
        path = self.folder / f"{self.name}-work" / "sheet.png"
        return path if path.exists() else None


class Trainings:
    """The trainings of a server. A class that was trained is served at once, and after each start."""

    def __init__(self, service: Service, folder: Path, options: Sequence[str] = ()) -> None:
        """options: further options of `adapt`, such as another base."""
        self._service, self._folder, self._options = service, folder, options
        self._changed = threading.Lock()
        self.last: Training | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        for found in sorted(folder.glob(f"*/*/{BUNDLE}")):
            service.add_bundle(found.parent)

    def start(self, request: ClassRequest) -> Training:
        """Start a training. Raises RequestError for a wrong request, and while another training runs."""
        self._check(request)
        with self._changed:
            if self.last is not None and self.last.child.running:
                raise RequestError(
                    "Train",
                    found=f"the training of {self.last.name}",
                    expected="one training at a time",
                    fix="wait for its end, or stop it",
                )
            folder = self._folder / secrets.token_hex(8)
            mine = folder / "mine" / request.name
            mine.mkdir(mode=0o700, parents=True)
            for i, path in enumerate(request.pictures):
                shutil.copyfile(path, mine / f"{i:04d}{path.suffix.lower()}")
            words: list[str | Path] = ["trainer", "adapt", mine.parent, "--out", folder / request.name]
            stated = {"--licence": request.licence, "--attribution": request.attribution, "--origin": request.origin}
            for flag, value in stated.items():
                words += [flag, value] if value else []
            words += ["--loss-every", str(EVERY), "--preview-every", str(EVERY), *self._options]
            self.last = Training(folder, request.name, Child(words, folder / "log.txt"))
            threading.Thread(target=self._serve, args=[self.last], name="cytosynth training", daemon=True).start()
            return self.last

    def _check(self, request: ClassRequest) -> None:
        names = [one.name for one in self._service.classes()]
        if not is_class_name(request.name):
            raise RequestError(
                "The name of the class",
                found=request.name or "nothing",
                expected=CLASS_NAME_RULE,
                fix="choose another name",
            )
        if request.name in names:
            raise RequestError(
                "The name of the class",
                found=f"{request.name}, which is served already",
                expected="a new name",
                fix="choose another name",
            )
        if len(request.pictures) < LEAST:
            raise RequestError(
                "The pictures", found=str(len(request.pictures)), expected=f"at least {LEAST}", fix="drop more pictures"
            )
        # Every one must be readable before any is copied.
        for one in dropped(request.pictures, "The pictures"):
            one.picture.close()

    def _serve(self, training: Training) -> None:
        """Serve the class as soon as its bundle is complete."""
        while training.child.running:
            training.child.wait(1.0)
        if training.child.succeeded:
            self._service.add_bundle(training.bundle)

    def close(self) -> None:
        """Stop the training that runs."""
        if self.last is not None:
            self.last.child.stop()
