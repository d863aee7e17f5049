"""Trainings of new classes: `python -m trainer adapt` in the data folder, one at a time."""

from __future__ import annotations

import csv
import json
import secrets
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.files import write_json
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.serve.page.children import Child, last_lines
from engine.serve.page.context import installed
from engine.serve.page.uploads import dropped
from engine.serve.service import Service

__all__ = ["LEAST", "ClassRequest", "Training", "Trainings"]

LEAST = 12
"""Number of pictures from which on a class can be trained."""
BUNDLE = "manifest.json"
MINE, LOG, RECORD = "mine", "log.txt", "training.json"
"""Pictures, output and record of a training in its folder."""
STATED = ("name", "licence", "attribution", "origin")
"""What a visitor states, in the words of `adapt` except for the name."""
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
    """One training: its folder, and its child process if it was begun by this server."""

    def __init__(self, folder: Path, name: str, child: Child | None = None) -> None:
        self.folder, self.name, self.child = folder, name, child

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.child is not None and self.child.running

    @property
    def succeeded(self) -> bool:
        """Whether its class is there."""
        return not self.running and (self.bundle / BUNDLE).is_file()

    @property
    def output(self) -> str:
        """The end of what the trainer has printed."""
        return last_lines(self.folder / LOG)

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
    """The trainings of a server. A class that was trained is served at once, and after each start.

    A training that ended with the server goes on at the next start. One that a visitor stopped waits for `resume`.
    """

    def __init__(self, service: Service, folder: Path, options: Sequence[str] = ()) -> None:
        """options: further options of `adapt`, such as another base."""
        self._service, self._folder, self._options = service, folder, options
        self._changed = threading.Lock()
        self._closed = False
        self.last: Training | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        for found in sorted(folder.glob(f"*/*/{BUNDLE}")):
            service.add_bundle(found.parent)
        self._go_on()

    def start(self, request: ClassRequest) -> Training:
        """Start a training. Raises RequestError for a wrong request, and while another training runs."""
        self._check(request)
        with self._changed:
            self._expect_none()
            folder = self._folder / secrets.token_hex(8)
            mine = folder / MINE / request.name
            mine.mkdir(mode=0o700, parents=True)
            for i, path in enumerate(request.pictures):
                shutil.copyfile(path, mine / f"{i:04d}{path.suffix.lower()}")
            stated = {name: getattr(request, name) for name in STATED}
            write_json(folder / RECORD, {**stated, "stopped": False})
            return self._begin(folder, stated)

    def resume(self) -> Training:
        """Go on with the training that was stopped or failed last. Raises RequestError if there is none."""
        with self._changed:
            self._expect_none()
            stated = None if self.last is None or self.last.succeeded else _stated(self.last.folder)
            if self.last is None or stated is None:
                raise RequestError(
                    "Train", found="no training that was stopped", expected="one", fix="drop pictures and press Train"
                )
            write_json(self.last.folder / RECORD, {**stated, "stopped": False})
            return self._begin(self.last.folder, stated)

    def stop(self) -> None:
        """Stop the training that runs, for a visitor. It does not go on by itself."""
        with self._changed:
            training = self.last
            if training is not None and training.child is not None and training.child.running:
                self._note_stop(training)
                training.child.stop()

    def close(self) -> None:
        """Stop the training that runs, because the server ends. The next server goes on with it."""
        self._closed = True
        if self.last is not None and self.last.child is not None:
            self.last.child.stop()

    def _expect_none(self) -> None:
        if self.last is not None and self.last.running:
            raise RequestError(
                "Train",
                found=f"the training of {self.last.name}",
                expected="one training at a time",
                fix="wait for its end, or stop it",
            )

    def _begin(self, folder: Path, stated: Mapping[str, Any]) -> Training:
        """Run `adapt`, which goes on where an earlier run in the folder ended."""
        name = stated["name"]
        words: list[str | Path] = ["trainer", "adapt", folder / MINE, "--out", folder / name]
        for field in STATED[1:]:
            words += [f"--{field}", stated[field]] if stated[field] else []
        words += ["--loss-every", str(EVERY), "--preview-every", str(EVERY), *self._options]
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write("Beginning, or going on after the stages that are finished\n")
        self.last = Training(folder, name, Child(words, folder / LOG, append=True))
        threading.Thread(target=self._serve, args=[self.last], name="cytosynth training", daemon=True).start()
        return self.last

    def _go_on(self) -> None:
        """Show the latest training that did not come to its end, and go on with it unless a visitor stopped it."""
        records = sorted(self._folder.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime)
        for record in reversed(records):
            stated = _stated(record.parent)
            if stated is None or (record.parent / stated["name"] / BUNDLE).is_file():
                continue
            self.last = Training(record.parent, stated["name"])
            if not stated["stopped"] and installed("trainer"):
                self._begin(record.parent, stated)
            return

    def _note_stop(self, training: Training) -> None:
        stated = _stated(training.folder)
        if stated is not None:
            write_json(training.folder / RECORD, {**stated, "stopped": True})

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
        assert training.child is not None
        while training.child.running:
            training.child.wait(1.0)
        if training.child.succeeded:
            self._service.add_bundle(training.bundle)
            return
        with self._changed:
            # What failed by itself would fail again at each start. It may have been resumed meanwhile.
            if not self._closed and self.last is training:
                self._note_stop(training)


def _stated(folder: Path) -> dict[str, Any] | None:
    """Return what the record of a training states, or None if it has another form."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        texts = {name: found[name] for name in STATED}
        stopped = found["stopped"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    wrong = not all(isinstance(text, str) and text.isprintable() for text in texts.values())
    if wrong or not is_class_name(texts["name"]) or not isinstance(stopped, bool):
        return None
    return {**texts, "stopped": stopped}
