"""The text that AUTOMATIC1111's WebUI writes into its pictures: its grammar, written and read.

The prompt stands first, then `Negative prompt: ` and the negative prompt, then one line of `Key: value` pairs. In it
samplers, schedules, masked content and upscalers have the names of the WebUI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.sampling.learned import LEARNED

__all__ = [
    "CONTENT_NAMES",
    "PRESET_KEY",
    "REFUSED_NAMES",
    "SAMPLER_ALIASES",
    "SAMPLER_NAMES",
    "SCHEDULE_ALIASES",
    "SCHEDULE_NAMES",
    "UPSCALER_NAMES",
    "Infotext",
    "parse_infotext",
    "sampler_name",
    "sampler_of",
    "schedule_name",
    "schedule_of",
    "split_sampler",
    "with_defaults",
    "write_infotext",
]

SAMPLER_NAMES = {
    "dpmpp_2m": "DPM++ 2M",
    "euler": "Euler",
    "euler_a": "Euler a",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "langevin": "Langevin",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_2s_a": "DPM++ 2S a",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "lms": "LMS",
    "heun": "Heun",
    "dpm2": "DPM2",
    "dpm2_a": "DPM2 a",
    "dpm_fast": "DPM fast",
    "restart": "Restart",
    "ddim_cfgpp": "DDIM CFG++",
    "plms": "PLMS",
    "unipc": "UniPC",
    "lcm": "LCM",
    "reverse_sde": "Reverse SDE",
    "predictor_corrector": "Predictor-corrector",
    "probability_flow": "Probability flow",
}
SCHEDULE_NAMES = {
    "karras": "Karras",
    "normal": "Normal",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "leading": "Leading",
    "polyexponential": "Polyexponential",
    "uniform": "Uniform",
    "simple": "Simple",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
    "align_your_steps": "Align Your Steps",
    "lcm": "LCM",
}
CONTENT_NAMES = {"fill": "fill", "noise": "latent noise", "nothing": "latent nothing"}
"""The WebUI's names of masked content; it does not state the original."""
UPSCALER_NAMES = {
    "latent": "Latent",
    "latent-bicubic": "Latent (bicubic antialiased)",
    "latent-nearest": "Latent (nearest-exact)",
    "lanczos": "Lanczos",
    "nearest": "Nearest",
}
"""The WebUI's names of upscalers."""
SAMPLER_ALIASES = {
    "k_dpmpp_2m": "dpmpp_2m",
    "k_euler": "euler",
    "k_euler_a": "euler_a",
    "k_euler_ancestral": "euler_a",
    "k_dpmpp_sde": "dpmpp_sde",
    "k_dpmpp_2m_sde": "dpmpp_2m_sde",
    "k_dpmpp_2m_sde_heun": "dpmpp_2m_sde_heun",
    "k_dpmpp_2s_a": "dpmpp_2s_a",
    "k_dpmpp_3m_sde": "dpmpp_3m_sde",
    "k_lms": "lms",
    "k_heun": "heun",
    "k_dpm_2": "dpm2",
    "k_dpm_2_a": "dpm2_a",
    "k_dpm_fast": "dpm_fast",
    "k_lcm": "lcm",
}
REFUSED_NAMES = {"dpm adaptive": "dpm_adaptive", "k_dpm_ad": "dpm_adaptive", "dpm_adaptive": "dpm_adaptive"}
"""Names of samplers that no table can hold, by our name of them."""
SCHEDULE_ALIASES = {"sgmuniform": "sgm_uniform"}
AUTOMATIC = "automatic"
PRESET_KEY = "Preset"
"""Our key of the preset whose learned table drew the picture. The WebUI has no such key and keeps it as it is."""
NEGATIVE = "Negative prompt:"
LEAST_PAIRS = 3
"""Number of pairs from which on the last line states settings, not words of a prompt."""
PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
SIDES = re.compile(r"(\d+)x(\d+)")
DEFAULTS: dict[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
}
"""What the WebUI supposes of a picture that does not state it."""


@dataclass(frozen=True)
class Infotext:
    """A text that was read. Values are texts; two sides such as 512x768 have the keys Size-1 and Size-2."""

    prompt: str = ""
    negative_prompt: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def hires(self) -> bool:
        """Whether the picture had a second pass at a larger size, judged by what the text itself states."""
        larger = ("Hires upscale", "Hires upscaler", "Hires resize-1")
        return "Denoising strength" in self.fields and any(key in self.fields for key in larger)


def write_infotext(prompt: str, negative_prompt: str | None, fields: Mapping[str, Any]) -> str:
    """Return the text. A value of None is left out, and a value that equals its key is the key alone."""
    pairs = [
        key if key == value else f"{key}: {_quoted(str(value))}" for key, value in fields.items() if value is not None
    ]
    lines = [prompt, *([f"{NEGATIVE} {negative_prompt}"] if negative_prompt else []), ", ".join(pairs)]
    return "\n".join(lines).strip()


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ",:\n") else value


def parse_infotext(text: str) -> Infotext:
    """Return what a text states. Any text can be read: without settings all of it is prompt.

    The last line is settings if it has LEAST_PAIRS pairs. Above it, the negative prompt begins with the first line that
    starts with `Negative prompt:`.
    """
    lines = text.strip().split("\n")
    pairs = PAIR.findall(lines[-1])
    if len(pairs) >= LEAST_PAIRS:
        del lines[-1]
    else:
        pairs = []
    start = next((place for place, line in enumerate(lines) if line.strip().startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[start:]).strip().removeprefix(NEGATIVE)
    fields: dict[str, str] = {}
    for key, written in pairs:
        value = _unquoted(written)
        if sides := SIDES.fullmatch(value):
            fields[f"{key}-1"], fields[f"{key}-2"] = sides.groups()
        elif value:
            fields[key] = value
    return Infotext("\n".join(lines[:start]).strip(), negative.strip(), fields)


def _unquoted(written: str) -> str:
    """Return the text of a JSON string; anything else as it was written."""
    if len(written) > 1 and written[0] == written[-1] == '"':
        try:
            return str(json.loads(written))
        except ValueError:
            return written
    return written


def with_defaults(found: Infotext) -> dict[str, Any]:
    """Return the fields with what the WebUI supposes of the others, as its endpoint `png-info` answers."""
    weights = any(re.search(r"(?<!\\)[(\[]", words) for words in (found.prompt, found.negative_prompt))
    return {**DEFAULTS, **({"Emphasis": "Original"} if weights else {}), **found.fields}


def sampler_name(name: str) -> str:
    """Return the WebUI's name of a sampler, or `Learned` for a learned table, which the WebUI does not have."""
    return (SAMPLER_NAMES | {LEARNED: LEARNED.capitalize()})[name]


def schedule_name(name: str) -> str:
    """Return the WebUI's name of a schedule, or `Learned` for that of a learned table."""
    return (SCHEDULE_NAMES | {LEARNED: LEARNED.capitalize()})[name]


def split_sampler(name: str) -> tuple[str, str | None]:
    """Return a sampler's name and the schedule at its end, as in `DPM++ 2M Karras`, or None without one."""
    for words in SCHEDULE_NAMES.values():
        if name.lower().endswith(f" {words.lower()}"):
            return name[: -len(words) - 1], words
    return name, None


def sampler_of(name: str) -> str | None:
    """Return our name of a sampler of the WebUI, in any case of letters, or None if there is none."""
    names = {shown.lower(): ours for ours, shown in SAMPLER_NAMES.items()} | SAMPLER_ALIASES
    return names.get(name.lower())


def schedule_of(name: str, native: str) -> str | None:
    """Return our name of a schedule of the WebUI, or None if there is none. native: what Automatic means."""
    if name.lower() == AUTOMATIC:
        return native
    names = {shown.lower(): ours for ours, shown in SCHEDULE_NAMES.items()} | SCHEDULE_ALIASES
    return names.get(name.lower())
