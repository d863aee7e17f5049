"""Reading the description of a picture from an untrusted file."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from engine.bundle.settings import GuidanceSettings, HardwareSettings, PictureSettings, SamplingSettings
from engine.cli.settings import SubjectSettings
from engine.errors import RequestError
from engine.options import flags_of
from engine.output.provenance import PARAMETERS_KEY
from engine.pictures import PNG_KEY

__all__ = ["PngDescription", "read_png"]

GROUPS = (SubjectSettings, SamplingSettings, GuidanceSettings, PictureSettings, HardwareSettings)
APART = ("--n", "--balance", "--preset", "--guidance-interval", "--prompt", "--negative-prompt", "--shared-noise")
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
    """The two texts in a picture file."""

    parameters: str
    description: dict[str, Any]

    @property
    def command(self) -> str:
        """The command that makes this picture again, quoted for a shell. It uses the bundle of the description."""
        words = ["engine", "generate", "--n", "1"]
        for field, flag in FLAGS.items():
            if field in self.description:
                words += [flag, str(self.description[field])]
        # Earlier versions always shared the noise, and did not state it. nv always shares it.
        if self.description.get("shared_noise", True) is not False and self.description.get("rng") != "nv":
            words.append("--shared-noise")
        interval = self.description.get("guidance_interval")
        if isinstance(interval, list) and len(interval) == 2:
            words += ["--guidance-interval", *map(str, interval)]
        if self.description.get("negative_prompt") is not None:
            words += ["--negative-prompt", str(self.description["negative_prompt"])]
        if self.description.get("prompt_given") is True:
            words += ["--prompt", str(self.description.get("prompt", ""))]
        # The default folder may already hold a run.
        words += ["--out", f"again-{self.description.get('class')}-{self.description.get('seed')}"]
        return shlex.join(words)


def read_png(path: Path) -> PngDescription:
    """Return both texts of a picture. Raises RequestError for a file that is not a picture of this engine."""
    expected = "a PNG that `engine generate` wrote"
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            texts = dict(getattr(picture, "text", {}))
        found = json.loads(texts[PNG_KEY]) if PNG_KEY in texts else None
        if found is not None and not isinstance(found, dict):
            raise TypeError("the description is not a JSON object")
    except Exception as error:  # a decoder may raise any exception for arbitrary bytes
        raise RequestError(
            f"The picture {path}", found=f"unreadable ({error})", expected=expected, fix="name another file"
        ) from error
    if found is None:
        raise RequestError(
            f"The picture {path}", found=f"no {PNG_KEY} text", expected=expected, fix="name another file"
        )
    return PngDescription(texts.get(PARAMETERS_KEY, ""), found)
