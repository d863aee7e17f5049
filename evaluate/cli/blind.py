"""The command `blind`: a page on which a reader tells real from synthetic pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.files import write_text
from engine.options import Range, setting, with_options
from engine.terminal import warn
from evaluate.class_folders import open_pairs
from evaluate.cli.options import FakeClasses, RealClasses, check_page, locked

__all__ = ["blind_command"]


@dataclass(frozen=True)
class BlindSettings:
    """What the page shows."""

    PANEL: ClassVar[str] = "Page"

    out: Path = setting(help="HTML file to write.")
    n: int = setting(60, flag="--n", within=Range(low=2), help="Number of pictures. Half of them are real.")
    subject: str = setting("a stained cell", help="What every picture shows, for the sentence at the top of the page.")
    seed: int = setting(0, within=Range(low=0), help="Seed of the choice and the order of the pictures.")


@with_options
@locked(lambda values: values["settings"].out)
def blind_command(real: RealClasses, fake: FakeClasses, settings: BlindSettings) -> None:
    """Write one HTML page with shuffled real and synthetic pictures, for a blind test by people.

    The reader says of each picture whether it is real. The page then shows the accuracy with its 95 % interval. It
    needs no network, and its answers stay in the browser.
    """
    from evaluate.report.blind import choose_pictures, render_blind

    check_page(settings.out)
    pairs, warnings = open_pairs(real, fake)
    pictures = choose_pictures(pairs, settings.n, settings.seed)
    write_text(settings.out, render_blind(pictures, settings.subject, settings.seed))
    print(f"{settings.out}: {len(pictures)} pictures, {settings.out.stat().st_size / 1e6:.1f} MB.")
    for name, pair in pairs.items():
        if pair.real.formats != pair.fake.formats:
            warnings.append(f"{name}: the two folders are saved in different formats, so both passed through JPEG.")
        if pair.real.side != pair.fake.side:
            warnings.append(f"{name}: the pictures differ in size. The change of size can give the larger ones away.")
    for words in warnings:
        warn(words)
