"""What the commands of `engine` share: options and words."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from engine.backends.select import AUTO
from engine.bundle.manifest import PRECISIONS, Preset
from engine.errors import RequestError

__all__ = ["BundleArgument", "JsonOption", "origin_words", "parse_batch_size", "settings_words"]

BundleArgument = Annotated[str, typer.Argument(metavar="[BUNDLE]", help="An embedded bundle's name, or a folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


def origin_words(origin: str) -> str:
    """Where a class's pictures came from, for people."""
    return "phantom pictures (procedural, no patient data)" if origin == "phantom" else origin


def parse_batch_size(asked: str | None, previous: dict[str, Any] | None) -> int | None:
    """None is the bundle's own. A run that is continued keeps what was measured when it began."""
    if asked is None:
        return None
    if asked == AUTO:
        kept = (previous or {}).get("batch_size")
        return kept if isinstance(kept, int) else None
    if not (asked.isascii() and asked.isdecimal()):
        raise RequestError("--batch-size", found=asked, expected="a number above 0, or auto", fix="change the value")
    return int(asked)


def settings_words(settings: Preset) -> str:
    """Sampler, steps, guidance and precision."""
    interval = settings.guidance_interval
    words = [settings.sampler, settings.schedule, f"{settings.num_inference_steps} steps"]
    words.append(
        f"guidance {settings.guidance_scale:g}" + (f" for sigma {interval[0]:g} to {interval[1]:g}" if interval else "")
    )
    return ", ".join([*words, *([] if settings.precision == PRECISIONS[0] else [settings.precision])])
