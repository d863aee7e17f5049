"""The command `engine png-info`: read the description of a picture from an untrusted file."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.bundle.settings import (
    EVERYWHERE,
    GuidanceSettings,
    HardwareSettings,
    PictureSettings,
    SamplingSettings,
)
from engine.cli.options import JsonOption
from engine.cli.settings import SubjectSettings
from engine.errors import RequestError
from engine.options import flags_of
from engine.output.infotext import Infotext, parse_infotext
from engine.output.picture_texts import read_texts
from engine.output.provenance import PARAMETERS_KEY
from engine.pictures import PNG_KEY
from engine.terminal import printable

__all__ = ["PngDescription", "asked_size", "png_info", "print_png", "read_png"]

GROUPS = (SubjectSettings, SamplingSettings, GuidanceSettings, PictureSettings, HardwareSettings)
APART = (
    "--n",
    "--balance",
    "--like",
    "--preset",
    "--guidance-interval",
    "--prompt",
    "--negative-prompt",
    "--shared-noise",
)
"""Options that a description does not state, or that take its value in another form."""
FLAGS = {
    flag.removeprefix("--").replace("-", "_"): flag
    for group in GROUPS
    for flag in flags_of(group).values()
    if flag not in APART
}
"""The options of `engine generate` that make a picture again, by the field of the description."""


@dataclass(frozen=True)
class PngDescription:
    """The texts in a picture file."""

    parameters: str
    """The text of AUTOMATIC1111's WebUI, or of this engine in its grammar."""
    description: dict[str, Any]
    """The description of this engine. Empty for pictures of the WebUI."""

    @property
    def infotext(self) -> Infotext:
        """The text of the WebUI, read."""
        return parse_infotext(self.parameters)

    @property
    def command(self) -> str:
        """The command that makes this picture again, quoted for a shell. It uses the bundle of the description."""
        if "upscaled" in self.description:
            return self._upscaling
        words = ["engine", "generate", "--n", "1"]
        stated = {**self.description, **asked_size(self.description)}
        for field, flag in FLAGS.items():
            if field in stated:
                words += [flag, str(stated[field])]
        words += _of_pictures(self.description)
        # Earlier versions always shared the noise, and did not state it. nv always shares it.
        if self.description.get("shared_noise", True) is not False and self.description.get("rng") != "nv":
            words.append("--shared-noise")
        interval = self.description.get("guidance_interval")
        # Without an interval every step is guided, although the bundle may have one among its defaults.
        bounds = interval if isinstance(interval, list) and len(interval) == 2 else EVERYWHERE
        words += ["--guidance-interval", *(f"{bound:g}" if bounds is EVERYWHERE else str(bound) for bound in bounds)]
        if self.description.get("negative_prompt") is not None:
            words += ["--negative-prompt", str(self.description["negative_prompt"])]
        if self.description.get("prompt_given") is True:
            words += ["--prompt", str(self.description.get("prompt", ""))]
        # The default folder may already hold a run.
        words += ["--out", f"again-{self.description.get('class')}-{self.description.get('seed')}"]
        return shlex.join(words)

    @property
    def _upscaling(self) -> str:
        """The command that enlarges the source of this picture again. It names the settings that are no defaults."""
        source = str(self.description.get("initial_picture", "PICTURE"))
        words = ["engine", "upscale", source, "--scale", str(self.description["upscaled"])]
        options = {"class": "--class", "bundle": "--bundle", "strength": "--strength", "seed": "--seed"}
        options |= {"steps": "--steps", "sampler": "--sampler", "schedule": "--schedule", "precision": "--precision"}
        options |= {"guidance_scale": "--guidance-scale", "tile_width": "--tile", "tile_overlap": "--overlap"}
        if "tile_width" in self.description:
            words += [word for key, flag in options.items() for word in (flag, str(self.description.get(key)))]
        return shlex.join(words)


def asked_size(description: dict[str, Any]) -> dict[str, Any]:
    """Return the width and height to ask for: those of the first pass, or of an initial picture before it grows."""
    if "first_width" in description:
        return {"width": description["first_width"], "height": description.get("first_height")}
    if "drawn_width" not in description:
        return {}
    grown = description.get("expand")
    left, top, right, bottom = grown if isinstance(grown, list) and len(grown) == 4 else (0, 0, 0, 0)
    try:
        return {
            "width": description["drawn_width"] - left - right,
            "height": description["drawn_height"] - top - bottom,
        }
    except (KeyError, TypeError):
        return {}


def _of_pictures(description: dict[str, Any]) -> list[str]:
    """Return the options of an initial picture, of a variation and of a second pass.

    The files are named without their folders.
    """
    words = []
    if description.get("derived") is True:
        words += ["--init", str(description.get("initial_picture"))]
        level = "strength" if description.get("strength") is not None else "start_sigma"
        words += [f"--{level.replace('_', '-')}", str(description.get(level))]
        for key in ("resize_mode", "mask", "mask_blur", "masked_content", "inpaint_area", "mask_padding"):
            # Without a mask these options would be refused, except for new pixels.
            if description.get(key) is not None:
                words += [f"--{key.replace('_', '-')}", str(description[key])]
        words += ["--mask-invert"] if description.get("mask_invert") is True else []
        if isinstance(description.get("expand"), list):
            words += ["--expand", *map(str, description["expand"])]
    for key in ("variation_seed", "variation_strength"):
        if key in description:
            words += [f"--{key.replace('_', '-')}", str(description[key])]
    if isinstance(description.get("noise_size"), list):
        words += ["--noise-size", *map(str, description["noise_size"])]
    if "hires_steps" in description:
        words += ["--hires-size", str(description.get("width")), str(description.get("height"))]
        for key in ("hires_upscaler", "hires_steps", "hires_strength"):
            words += [f"--{key.replace('_', '-')}", str(description.get(key))]
    return words


def read_png(path: Path) -> PngDescription:
    """Return the texts of a picture. Raises RequestError for a file without any."""
    expected = "a picture that `engine generate` or AUTOMATIC1111's WebUI wrote"
    try:
        read = read_texts(path)
        texts, comment = read.chunks, read.comment
        found = json.loads(texts[PNG_KEY]) if PNG_KEY in texts else None
        if found is not None and not isinstance(found, dict):
            raise TypeError("the description is not a JSON object")
    except Exception as error:  # a decoder may raise any exception for arbitrary bytes
        raise RequestError(
            f"The picture {path}", found=f"unreadable ({error})", expected=expected, fix="name another file"
        ) from error
    if not found and not comment:
        raise RequestError(
            f"The picture {path}",
            found=f"no {PNG_KEY} text and no text of the WebUI",
            expected=expected,
            fix="name another file",
        )
    return PngDescription(texts.get(PARAMETERS_KEY, "") if found else comment, found or {})


def print_png(path: Path, found: PngDescription, as_json: bool) -> None:
    """Print the texts of a picture, and the command that makes it again or one like it."""
    ours = bool(found.description)
    command = found.command if ours else shlex.join(["engine", "generate", "--like", str(path), "--class", "CLASS"])
    fields = found.infotext.fields
    if as_json:
        read = {"prompt": found.infotext.prompt, "negative_prompt": found.infotext.negative_prompt, "fields": fields}
        described = found.description if ours else None
        print(json.dumps({"parameters": found.parameters, "cytosynth": described, "command": command, "webui": read}))
        return
    print(printable(found.parameters), end="\n\n")
    for name, value in (found.description or fields).items():
        print(printable(f"{name}: {value}"))
    if ours:
        bundle_hash = found.description.get("bundle_sha256", "unknown")
        said = f"makes the picture again. --bundle must name the bundle with SHA-256 {bundle_hash}"
    else:
        said = "makes a picture of a class with these settings"
    print(printable(f"\nThis command {said}:"))
    print(printable(command))


def png_info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Picture that `engine generate` or the WebUI wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Show how a picture of this engine or of AUTOMATIC1111's WebUI was made, and the command that makes it again."""
    print_png(file, read_png(file), as_json)
