"""Settings of pictures that vary initial pictures, declared once for the command line and the Python library."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from engine.errors import RequestError
from engine.initial.resize import RESIZE_MODES
from engine.options import Range, check_settings, check_within, expect_unset, setting
from engine.sampling.start import StartLevel

__all__ = ["InitialRequest", "InitialSettings", "initial_request"]

STRENGTH = 0.5
"""Strength of a request that states neither a strength nor a sigma."""
CONTENTS = ("original", "fill", "noise", "nothing")
AREAS = ("whole", "masked")
SIDES = Range(0, 4096)


@dataclass(frozen=True)
class InitialSettings:
    """Initial pictures, how much of them changes, and where."""

    PANEL: ClassVar[str] = "Initial pictures"

    init: Path | None = setting(
        None,
        metavar="DIR|FILE",
        help="Initial pictures to vary: a file, a folder of pictures, or a folder with one such folder per class. "
        "Picture i varies initial picture i mod K.",
    )
    strength: float | None = setting(
        None,
        within=Range(0, 1),
        help=f"How much an initial picture changes: 0 returns it, 1 evaluates every step (default: {STRENGTH}). "
        "Of S steps the last int(strength * S) + 1 are evaluated, as in AUTOMATIC1111's WebUI.",
    )
    start_sigma: float | None = setting(
        None, within=Range(above=0), help="Noise level at which to begin, as a sigma, instead of --strength."
    )
    resize_mode: str | None = setting(
        None,
        choices=RESIZE_MODES,
        help="What to do with an initial picture of another shape: stretch it, crop it, or fill the bands beside it "
        "with its edge",
    )
    mask: Path | None = setting(
        None,
        metavar="DIR|FILE",
        help="Mask of what to repaint (white) and what to keep (black): one file for all initial pictures, or a "
        "folder with a mask of the same name for each.",
    )
    mask_invert: bool = setting(False, flag="--mask-invert", help="Repaint what is black in the mask.")
    mask_blur: float = setting(
        4.0,
        within=Range(0, 64),
        help="Width of the soft transition inside the edge of the mask: standard deviation of a Gaussian, in pixels.",
    )
    masked_content: str | None = setting(
        None,
        choices=CONTENTS,
        help="What is below the mask at first: the picture itself, the colours around it, noise, or nothing "
        "(default: original, with --expand fill)",
    )
    inpaint_area: str = setting(
        "whole", choices=AREAS, help="Draw the whole picture, or enlarge the surroundings of the mask and draw these"
    )
    mask_padding: int = setting(
        32, within=Range(0, 1024), help="Pixels around the mask that --inpaint-area masked draws along."
    )
    expand: tuple[int, int, int, int] | None = setting(
        None,
        metavar="L T R B",
        help="Grow the picture by this many pixels on the left, top, right and bottom, and draw what is there.",
    )


@dataclass(frozen=True)
class InitialRequest:
    """The checked settings of a request with initial pictures. They are a part of the run's identity."""

    strength: float | None
    start_sigma: float | None
    resize_mode: str | None
    masked: bool
    """Whether there are masks."""
    mask_invert: bool
    mask_blur: float
    masked_content: str
    inpaint_area: str
    mask_padding: int
    expand: tuple[int, int, int, int] | None
    sha256: str = ""
    """SHA-256 of the names and the hashes of all initial pictures and masks, in order."""

    @property
    def level(self) -> StartLevel:
        """Where in the noise schedule the pictures begin."""
        return StartLevel(self.strength, self.start_sigma)

    @property
    def repaints(self) -> bool:
        """Whether only a part of each picture is drawn."""
        return self.masked or self.expand is not None

    @property
    def keeps_pixels(self) -> bool:
        """Whether a finished picture shows pixels of its initial picture: outside a mask, or at strength 0 all."""
        return self.repaints or self.strength == 0

    def base_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the width and height to which pictures are resized before they grow to the size that is drawn."""
        left, top, right, bottom = self.expand or (0, 0, 0, 0)
        return size[0] - left - right, size[1] - top - bottom

    def as_json(self) -> dict[str, Any]:
        """Return the request as plain JSON values."""
        return {**asdict(self), "expand": None if self.expand is None else list(self.expand)}


def initial_request(settings: InitialSettings) -> InitialRequest | None:
    """Return the request of these settings, or None if they name no initial pictures.

    Raises RequestError for settings that contradict each other, or that need an initial picture or a mask.
    """
    check_settings(settings)
    if settings.init is None:
        expect_unset(settings, InitialSettings(), "--init")
        return None
    if settings.strength is not None and settings.start_sigma is not None:
        raise RequestError(
            "--strength and --start-sigma",
            found="both",
            expected="one of them, because each states where to begin",
            fix="leave one of them out",
        )
    for side in settings.expand or ():
        check_within("--expand", side, SIDES)
    masked, expanded = settings.mask is not None, settings.expand is not None and any(settings.expand)
    if not masked and not expanded:
        expect_unset(
            settings,
            InitialSettings(
                init=settings.init,
                strength=settings.strength,
                start_sigma=settings.start_sigma,
                resize_mode=settings.resize_mode,
                expand=settings.expand,
            ),
            "--mask or --expand",
        )
    if expanded and settings.strength == 0:
        raise RequestError(
            "--strength",
            found="0 with --expand",
            expected="a strength above 0, because the new pixels must be drawn",
            fix="raise --strength, for example to 0.9",
        )
    if expanded and settings.inpaint_area == "masked":
        raise RequestError(
            "--inpaint-area masked",
            found="--expand",
            expected="--inpaint-area whole, because the picture grows",
            fix="leave out one of these options",
        )
    content = settings.masked_content or ("fill" if expanded else "original")
    return InitialRequest(
        strength=STRENGTH if settings.strength is None and settings.start_sigma is None else settings.strength,
        start_sigma=settings.start_sigma,
        resize_mode=settings.resize_mode,
        masked=masked,
        mask_invert=settings.mask_invert,
        mask_blur=settings.mask_blur,
        masked_content=content,
        inpaint_area=settings.inpaint_area,
        mask_padding=settings.mask_padding,
        expand=settings.expand if expanded else None,
    )
