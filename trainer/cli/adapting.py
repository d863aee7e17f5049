"""The command that does everything: adapt."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.options import Without, with_options
from engine.progress import Progress
from engine.terminal import progress_bar, stopped_by_signals
from trainer.adapting.settings import AdaptSettings
from trainer.cli.options import BaseSource, given_options
from trainer.fitting.settings import ClassTrainingSettings, PresetSettings

if TYPE_CHECKING:
    from trainer.adapting.adapt import Adaptation, Adapted

__all__ = ["adapt"]

ELSEWHERE = ("class_name", "prompt", "origin", "pictures", "licence", "attribution", "webui", "resume", "overwrite")
"""Fields of the settings of `fit` that `adapt` sets itself, or that AdaptSettings declares."""
LINES = 20
UNTRACKED = ("source", "out", "base", "tokenizer", "work")
"""Parameters that may differ when a run is resumed, because the work folder stays the same or compares them itself."""
SHIPPED_BASE = BaseSource("cells")


@with_options
def adapt(
    context: typer.Context,
    mine: Annotated[Path, typer.Argument(metavar="MINE", help="Folder with one subfolder of pictures per class.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle.")],
    settings: AdaptSettings,
    fitting: Annotated[ClassTrainingSettings, Without(*ELSEWHERE)],
    preset: PresetSettings,
    source: BaseSource = SHIPPED_BASE,
) -> None:
    """Make a bundle from your pictures: prepare, fit, merge, export, and a sheet of real and synthetic cells.

    Run the same command again to resume an interrupted run.
    """
    from trainer.adapting.adapt import Adaptation
    from trainer.adapting.processes import Interrupted

    given = {
        f"--{name.replace('_', '-')}": str(context.params[name])
        for name in sorted(given_options(context))
        if name not in ("mine", *UNTRACKED)
    }
    run = Adaptation(mine, out, source.base, source.tokenizer, settings, fitting, preset.preset, given)
    began = time.monotonic()
    try:
        with progress_bar(bar_per_task=False) as bar, stopped_by_signals() as stop:
            made = run.run(bar if sys.stderr.isatty() else _lines(), stop)
    except Interrupted:
        print("Stopped. Finished stages are kept: run the same command again to go on.", file=sys.stderr)
        sys.exit(1)
    _report(run, made, time.monotonic() - began)


def _lines() -> Progress:
    """Return a progress that prints a line to stderr at the start of each stage and at each twentieth of the whole."""
    seen: set[tuple[str, int]] = set()

    def show(words: str, done: int, total: int, loss: float | None = None, rate: float | None = None, /) -> None:
        key = (words.partition(",")[0], done * LINES // total)
        if key not in seen:
            seen.add(key)
            print(f"{100 * done // total:3} % {words}", file=sys.stderr, flush=True)

    return show


def _report(run: Adaptation, made: Adapted, seconds: float) -> None:
    """Print what was made, what was chosen, and the commands that come next."""
    from trainer.adapting.overall import duration_words

    out = shlex.quote(str(run.out))
    first, *others = made.class_names
    print(f"The bundle {run.out} has the classes {', '.join(made.class_names)} (made in {duration_words(seconds)}).")
    for sentence in (*made.choices.reasons, *(f"warning: {words}" for words in made.warnings)):
        print(f"- {sentence}")
    if run.settings.licence is None:
        print("- the licence of your pictures is recorded as not stated (--licence, --attribution)")
    print(f"Real and synthetic cells side by side: {made.sheet}")
    crop = "" if made.choices.crop == 1 else f" --crop {made.choices.crop:g}"
    other = f" --other unseen/{others[0]}" if others else ""
    print("\nMake cells:")
    print(f"  engine generate --bundle {out} --class all --n 500 --out synthetic")
    print("How good are they? kept/<class> holds pictures that are not among those of this run:")
    print(f"  python -m trainer prepare kept unseen --size {made.picture_side}{crop}")
    print(f"  python -m evaluate score unseen/{first} synthetic/{first}{other} --out records/score-{first}")
