"""Settings of the exporter's commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from engine.bundle.plans import FLAVOURS
from engine.errors import RequestError
from engine.options import Range, parse_whole_numbers, setting

__all__ = ["BundleSettings", "DriftSettings", "Int8Settings", "PlanSettings"]


@dataclass(frozen=True)
class BundleSettings:
    """Name, base and default settings of a new bundle. An existing bundle keeps its own and refuses other values."""

    PANEL: ClassVar[str] = "New bundle"

    name: str | None = setting(None, help="Name of the bundle (default: the folder's name).")
    base: str | None = setting(None, help="Description of the base in words (default: from the base).")
    num_inference_steps: int | None = setting(
        None,
        flag="--steps",
        within=Range(1, 1000),
        help="Default number of sampling steps (for a new bundle: from the base, or 20).",
    )
    guidance_scale: float | None = setting(
        None,
        within=Range(0, 100),
        help="Default guidance scale (for a new bundle: from the base, or 7; 1 is no guidance).",
    )
    guidance_interval: tuple[float, float] | None = setting(
        None, help="LO HI: guide only between these sigmas (for a new bundle: from the base, or everywhere)."
    )
    batch_size: int | None = setting(None, within=Range(1, 4096), help="Default batch size (8 for a new bundle).")

    @property
    def defaults(self) -> dict[str, Any]:
        """The default settings that were given, as the manifest stores them."""
        interval = None if self.guidance_interval is None else list(self.guidance_interval)
        given = {
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "guidance_interval": interval,
            "batch_size": self.batch_size,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Int8Settings:
    """The pictures that calibrate 8-bit graphs."""

    PANEL: ClassVar[str] = "Calibration"

    pictures: int = setting(4, within=Range(1, 1000), help="Pictures per class that set the ranges of activations.")


def _parse_size(text: str) -> tuple[int, int]:
    """Return the width and height in a text such as "512x384". Raises RequestError."""
    found = re.fullmatch(r"(\d+)x(\d+)", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise RequestError("--size", found=text, expected="WIDTHxHEIGHT", fix="write, for example, --size 512x512")
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class PlanSettings:
    """The GPU, the flavour of TensorRT, and the shapes for which plans are built."""

    PANEL: ClassVar[str] = "Plans"

    gpu: str = setting("a6000", help="GPU by name (a6000, rtx4090, ...) or by compute capability (sm86).")
    flavour: str = setting(
        "rtx",
        help="TensorRT for RTX (rtx) needs no GPU, TensorRT (tensorrt) builds on the GPU itself",
        choices=FLAVOURS,
    )
    batch: tuple[int, ...] = setting(
        (1, 8, 16),
        help="Batch sizes, separated by commas.",
        parser=partial(parse_whole_numbers, "--batch"),
        metavar="N,N,...",
    )
    size: tuple[int, int] | None = setting(
        None,
        help="WIDTHxHEIGHT in pixels (default: from the bundle).",
        parser=_parse_size,
        metavar="WIDTHxHEIGHT",
    )
    refit: bool = setting(False, help="Build plans whose weights can be replaced. Needs the GPU itself.")

    def shapes(self, picture_size: tuple[int, int]) -> tuple[tuple[int, ...], int, int]:
        """Return the batch sizes in ascending order, and width and height."""
        width, height = self.size or picture_size
        return tuple(sorted(set(self.batch))), width, height


@dataclass(frozen=True)
class DriftSettings:
    """The graph whose layers are compared with float32."""

    PANEL: ClassVar[str] = "Comparison"

    class_name: str | None = setting(None, flag="--class", help="Class of the bundle (default: the first).")
    graph: str = setting("unet", help="Graph to compare", choices=("unet", "vae_decoder", "vae_encoder"))
    against: str = setting(
        "fp32",
        help="fp32: the float16 graph is compared with float32. int8: the 8-bit graph is compared with float32",
        choices=("fp32", "int8"),
    )
    plot: Path | None = setting(None, help="Draw the error of every layer to this PNG file. Needs matplotlib.")
