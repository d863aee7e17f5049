"""`adapt`: prepares pictures, fits and merges a class for each folder, exports a bundle and draws a sheet.

Each stage leaves a file or folder in the work folder under its final name only when it is complete. So a run that was
killed goes on with the stage that was not complete.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.progress import Progress
from trainer.adapters.merge import merge
from trainer.adapting.choose import choose
from trainer.adapting.overall import Overall
from trainer.adapting.processes import Interrupted, run_part
from trainer.adapting.settings import AdaptSettings
from trainer.adapting.sheet import SHOWN, draw_comparison
from trainer.adapting.state import Choices, expect_same_request, pictures_digest, read_choices, write_choices
from trainer.base.base import Base, open_base
from trainer.base.card import NOT_STATED
from trainer.fitting.class_training import ClassRequest
from trainer.fitting.fit import fit
from trainer.fitting.presets import FIT_PRESETS
from trainer.fitting.settings import ClassTrainingSettings
from trainer.hypernetwork.files import read_hypernetwork
from trainer.pictures.folders import find_pictures
from trainer.pictures.prepare import PrepareSettings, prepare
from trainer.training.devices import choose_compute
from trainer.training.outputs import OutputSettings
from trainer.training.record import ClassSettings, read_record

__all__ = ["Adaptation", "Adapted"]

CHOOSE, PREPARE, EXPORT, SHEET = "choose", "prepare", "export", "sheet"
LOG, WARNING = "log.txt", "warning: "
COSTS = {CHOOSE: 25.0, PREPARE: 4.0, "fit": 0.085, "merge": 30.0, EXPORT: 45.0, SHEET: 12.0}
"""Seconds on one core, per class, and of `fit` per step and picture, for the base that ships. Only their ratios
matter, and only until the first stages are done."""


@dataclass(frozen=True)
class Adapted:
    """Result of a run."""

    class_names: list[str]
    choices: Choices
    sheet: Path
    picture_side: int
    warnings: list[str]


@dataclass(frozen=True)
class Adaptation:
    """One run of `adapt`. `fitting` and `given` are the settings of `fit` and the names of those that were given."""

    source: Path
    out: Path
    base_name: str
    tokenizer: Path | None
    settings: AdaptSettings
    fitting: ClassTrainingSettings
    preset: str | None
    given: dict[str, Any]
    """Values of all options that were given, which must be the same when a run is resumed."""

    @property
    def work(self) -> Path:
        """The folder for what the stages leave."""
        return self.settings.work or self.out.with_name(f"{self.out.name}-work")

    @cached_property
    def pictures(self) -> dict[str, list[Path]]:
        """The picture files of each class, the classes in alphabetical order. Raises RequestError."""
        return find_pictures(self.source)

    def run(self, progress: Progress, stop: threading.Event) -> Adapted:
        """Run the stages that are not finished.

        Raises RequestError, CytosynthError, or Interrupted if `stop` is set.
        """
        name = self.out.resolve().name
        if not is_class_name(name):
            # The exporter would refuse the name of the bundle, but only after the training.
            raise RequestError(f"--out {self.out}", found=name, expected=CLASS_NAME_RULE, fix="choose another name")
        classes = pictures_digest(self.pictures)
        request = {"--base": self.base_name, **{f"class {name}": words for name, words in classes.items()}}
        compute, base = choose_compute(self.fitting.hardware), self._open()
        overall = Overall(self._costs(base), progress)
        # This is the last check: only then something is written.
        expect_same_request(self.work, self.out, {**request, **self.given})
        if self._is_due(CHOOSE):
            report = _stopping(overall.stage(CHOOSE), stop)
            write_choices(self.work, choose(base, self.pictures, self.settings, compute, report))
            overall.finish(CHOOSE)
        side = base.picture_side
        # Each stage opens the base for itself, because fitting and merging change it.
        del base
        choices = read_choices(self.work)
        assert choices is not None, "the stage above writes the choices"
        stages: dict[str, Callable[[Progress], None]] = {PREPARE: partial(self._prepare, choices, side)}
        for name in self.pictures:
            stages[f"fit {name}"] = partial(self._fit, name, choices, stop)
            stages[f"merge {name}"] = partial(self._merge, name)
        for stage, action in stages.items():
            if self._is_due(stage):
                _expect_running(stop)
                action(_stopping(overall.stage(stage), stop))
                overall.finish(stage)
        self._run_parts(overall, stop)
        return Adapted([*self.pictures], choices, self.work / "sheet.png", side, self._warnings())

    def _warnings(self) -> list[str]:
        """Return the warnings about the pictures, from the log, so that a resumed run repeats them."""
        lines = (self.work / LOG).read_text(encoding="utf-8").splitlines()
        return [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]

    def _open(self) -> Base:
        return open_base(self.base_name, self.tokenizer)

    def _is_due(self, stage: str) -> bool:
        """Return whether a stage is not finished."""
        word, _, name = stage.partition(" ")
        if word == "fit":
            # A training that was stopped leaves a record, too.
            run = read_record(self.work / "hypernetworks" / f"{name}.json").get("training")
            return run is None or run["steps_done"] < run["steps"]
        files = {
            CHOOSE: self.work / "choices.json",
            PREPARE: self.work / "prepared",
            "merge": self.work / "merged" / name,
            EXPORT: self.out / "manifest.json",
            SHEET: self.work / "sheet.png",
        }
        return not files[word].exists()

    def _costs(self, base: Base) -> dict[str, float]:
        """Return the estimated seconds of each stage that is due."""
        classes = self.pictures
        names = [CHOOSE, PREPARE, *(f"{word} {name}" for name in classes for word in ("fit", "merge")), EXPORT, SHEET]
        costs = {}
        for stage in filter(self._is_due, names):
            word, _, name = stage.partition(" ")
            if word == "fit":
                loop = self._fit_settings(base, len(classes[name])).loop
                costs[stage] = COSTS["fit"] * loop.steps * loop.batch_size * loop.accumulation
            else:
                costs[stage] = COSTS[word] * (1 if name else len(classes))
        return costs

    def _fit_settings(self, base: Base, pictures: int) -> ClassTrainingSettings:
        chosen = FIT_PRESETS[self.preset or base.card.fit_preset]
        return chosen.applied(self.fitting, self.given_names, pictures)

    @property
    def given_names(self) -> set[str]:
        """Names of the fields that were given."""
        return {flag.removeprefix("--").replace("-", "_") for flag in self.given}

    def _prepare(self, choices: Choices, side: int, report: Progress) -> None:
        part, final = self.work / "prepared.part", self.work / "prepared"
        shutil.rmtree(part, ignore_errors=True)
        settings = PrepareSettings(
            size=side,
            crop=choices.crop,
            n=max(self.settings.n, *(len(paths) for paths in self.pictures.values())),
            flip=self.settings.flip,
            depth_range=self.settings.depth_range,
            seed=self.fitting.loop.seed,
        )
        found = prepare(self.source, part, settings, progress=report)
        for note in found.notes:
            self._note(note)
        for pair in found.alike or ():
            self._note(f"{pair.one} and {pair.other} are the same or nearly so ({pair.likeness:.3f})")
        part.rename(final)

    def _fit(self, name: str, choices: Choices, stop: threading.Event, report: Progress) -> None:
        base, data = self._open(), self.work / "prepared" / name
        record = ClassSettings(
            class_name=name,
            prompt=choices.prompts[name],
            origin=self.settings.origin,
            licence=self.settings.licence or NOT_STATED,
            attribution=self.settings.attribution or NOT_STATED,
        )
        count = len(self.pictures[name])
        settings = replace(self._fit_settings(base, count), record=record, output=OutputSettings(resume=True))
        facts = fit(base, ClassRequest(data, self.work / "hypernetworks", settings, stop, report, self._note))
        if facts["training"]["steps_done"] < facts["training"]["steps"]:
            raise Interrupted

    def _note(self, words: str) -> None:
        """Write a warning into the log, from which the report takes it."""
        with (self.work / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{WARNING}{words}\n")

    def _merge(self, name: str, report: Progress) -> None:
        base, part = self._open(), self.work / "merged.part"
        shutil.rmtree(part, ignore_errors=True)
        file = read_hypernetwork(self.work / "hypernetworks" / f"{name}.safetensors")
        assert file.record is not None, "fit writes the record"
        # The thesis's models start from plain noise.
        leak = self.work / "prepared" / name if base.card.fit_preset == "small" else None
        merge(base, [(file, self.settings.multiplier)], part, file.record, signal_leak=leak)
        (self.work / "merged").mkdir(exist_ok=True)
        part.rename(self.work / "merged" / name)

    def _run_parts(self, overall: Overall, stop: threading.Event) -> None:
        """Export the bundle and draw the sheet, by the command lines of the exporter and the engine."""
        cells = self.work / "cells"
        merged = [str(self.work / "merged" / name) for name in self.pictures]
        draw = ["--class", "all", "--n", str(SHOWN), "--seed", "0", "--out", str(cells)]
        for stage, words in (
            (EXPORT, ["exporter", "onnx", *merged, "--out", str(self.out)]),
            (SHEET, ["engine", "generate", "--bundle", str(self.out), *draw]),
        ):
            if not self._is_due(stage):
                continue
            _expect_running(stop)
            overall.stage(stage)
            run_part(words, self.work / LOG, stop, partial(overall.elapse, stage, time.monotonic()))
            if stage == SHEET:
                draw_comparison(self.work / "prepared", cells, [*self.pictures], self.work / "sheet.png")
            overall.finish(stage)


def _stopping(report: Progress, stop: threading.Event) -> Progress:
    """Return a progress that raises Interrupted if `stop` is set. `fit` is told by the event itself, and saves."""

    def checked(task: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /) -> None:
        if rate is None:
            _expect_running(stop)
        report(task, done, total, loss, rate)

    return checked


def _expect_running(stop: threading.Event) -> None:
    if stop.is_set():
        raise Interrupted
