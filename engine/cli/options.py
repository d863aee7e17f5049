"""What the commands of `engine` share: options, and words for people."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.bundle.presets import PRECISIONS, Preset

__all__ = ["BundleArgument", "JsonOption", "origin_words", "settings_words"]

BundleArgument = Annotated[
    str, typer.Argument(metavar="[BUNDLE]", help="Name of an embedded bundle, or path of a bundle's folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


def origin_words(origin: str) -> str:
    """Return where the pictures of a class came from, in words for people."""
    return "phantom pictures (procedural, no patient data)" if origin == "phantom" else origin


def settings_words(settings: Preset) -> str:
    """Return sampler, steps, guidance, precision and which models of its own it has, in words for people."""
    interval = settings.guidance_interval
    words = [settings.sampler, settings.schedule, f"{settings.num_inference_steps} steps"]
    words.append(
        f"guidance {settings.guidance_scale:g}" + (f" for sigma {interval[0]:g} to {interval[1]:g}" if interval else "")
    )
    words += [] if settings.unets is None else ["UNets of its own"]
    words += [] if settings.decoder is None else ["small decoder"]
    return ", ".join([*words, *([] if settings.precision == PRECISIONS[0] else [settings.precision])])
