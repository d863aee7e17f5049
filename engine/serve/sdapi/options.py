"""The WebUI's options: a class as the checkpoint, few others that count, and many that have one value here.

Three are ours: the sampler and the number of steps of requests that state none, and the preset of a single request.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.output.infotext import SAMPLER_NAMES, sampler_of
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.kept import read_options, refused, write_options
from engine.serve.sdapi.names import PRESET, class_of
from engine.serve.service import ServedClass, Service

__all__ = ["CHECKPOINT", "OF_SERVER", "PRESET", "SETTABLE", "Chosen", "Options"]

CHECKPOINT, CLIP_SKIP, EMPHASIS, RNG = (
    "sd_model_checkpoint",
    "CLIP_stop_at_last_layers",
    "emphasis",
    "randn_source",
)
HYPERNETWORK = "sd_hypernetwork"
PREVIEWS, PREVIEW_EVERY = "live_previews_enable", "show_progress_every_n_steps"
SAMPLER, STEPS = "cytosynth_sampler", "cytosynth_steps"
OF_BUNDLE = "From the bundle"
MOST_STEPS = 1000
OF_SERVER = (PREVIEWS, PREVIEW_EVERY)
"""Options of the server as a whole, which a single request cannot override."""
SETTABLE: dict[str, Sequence[Any]] = {
    SAMPLER: (OF_BUNDLE, *SAMPLER_NAMES.values()),
    STEPS: range(MOST_STEPS + 1),
    CLIP_SKIP: range(1, 13),
    EMPHASIS: ("Original", "No norm"),
    RNG: ("NumPy", "NV", "GPU"),
    PREVIEWS: (False, True),
    PREVIEW_EVERY: range(1, 33),
}
"""Options beside the class that change something. 0 steps are those of the bundle."""
ALLOWED: dict[str, Sequence[Any]] = {
    **SETTABLE,
    "sd_vae": ("Automatic", "None"),
    "samples_format": ("png",),
    "face_restoration_model": (None, "None", "CodeFormer", "GFPGAN"),
    "upscaler_for_img2img": (None, "None"),
}
"""Options with several values, the default first unless OTHERWISE holds it.

The texts of upscaler and face restoration change nothing.
"""
OTHERWISE = {PREVIEW_EVERY: 10}
ONE_VALUE: dict[str, Any] = {
    "eta_ancestral": 1.0,
    "eta_ddim": 0.0,
    "eta_noise_seed_delta": 0,
    "initial_noise_multiplier": 1.0,
    "img2img_extra_noise": 0.0,
    "img2img_fix_steps": False,
    "img2img_color_correction": False,
    "img2img_background_color": "#ffffff",
    "inpainting_mask_weight": 1.0,
    "overlay_inpaint": True,
    "return_mask": False,
    "return_mask_composite": False,
    "comma_padding_backtrack": 20,
    "ddim_discretize": "uniform",
    "enable_pnginfo": True,
    "jpeg_quality": 80,
    "sd_lora": "None",
    "samples_save": False,
    "grid_save": False,
    "save_images_add_number": True,
    "s_churn": 0.0,
    "s_tmin": 0.0,
    "s_noise": 1.0,
    "s_min_uncond": 0.0,
    "sgm_noise_multiplier": False,
    "token_merging_ratio": 0.0,
}
"""Options that have one value here: that of the WebUI, or what this server does."""


@dataclass(frozen=True)
class Chosen:
    """The options that make a difference to a picture."""

    served: ServedClass
    clip_skip: int
    emphasis: str
    rng: str
    sampler: str | None = None
    """By our name. None is that of the preset or of the bundle."""
    steps: int | None = None
    preset: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return them as fields of the engine's settings."""
        return {
            "clip_skip": self.clip_skip,
            "emphasis": "no_norm" if self.emphasis == "No norm" else "original",
            "rng": "numpy" if self.rng == "NumPy" else "nv",
            "sampler": self.sampler,
            "num_inference_steps": self.steps,
            "preset": self.preset,
        }


class Options:
    """The options of this server, as its clients last set them. All methods may be called from any thread."""

    def __init__(self, service: Service, file: Path | None = None) -> None:
        """file: where the options are kept. None keeps them in memory alone. Raises RequestError for a wrong file."""
        self._service, self._file = service, file
        self._changed = threading.RLock()
        self._given: dict[str, Any] = {}
        if file is not None:
            self._given = self._read(file)
            self._use()

    def all(self) -> dict[str, Any]:
        """Return every option with its value."""
        defaults = {name: values[0] for name, values in ALLOWED.items()} | OTHERWISE | ONE_VALUE
        with self._changed:
            found = {**defaults, HYPERNETWORK: "None", **self._given}
        # The class may have been taken away with its bundle.
        served = self._served(found.get(CHECKPOINT))
        return {**found, CHECKPOINT: served.title, "sd_checkpoint_hash": served.sha256}

    def _read(self, file: Path) -> dict[str, Any]:
        """Return the options of a file. A class that is not served now may be served again. Raises RequestError."""
        found = read_options(file)
        checkpoint = found.pop(CHECKPOINT, None)
        if not isinstance(checkpoint, str | None):
            raise refused(f"{CHECKPOINT} with a value of the type {type(checkpoint).__name__}", "the name of a class")
        try:
            accepted, unknown = self._accepted(found)
        except ApiError as error:
            raise refused(error.detail, "values that the options API takes") from None
        if unknown:
            raise refused(f"unknown options: {', '.join(map(ascii, unknown))[:400]}", "options that the server knows")
        return accepted | ({} if checkpoint is None else {CHECKPOINT: checkpoint})

    def change(self, values: Mapping[str, Any]) -> None:
        """Set options. Values that stay as they are may have any name. Raises ApiError before anything is changed."""
        if values.get(PRESET) is not None:
            raise ApiError(422, f"option {PRESET}: only a request can state it, in its override_settings.")
        accepted, unknown = self._accepted(values)
        if unknown:
            known = sorted((*ALLOWED, *ONE_VALUE, CHECKPOINT, HYPERNETWORK))
            raise ApiError(422, f"Unknown options: {', '.join(unknown)}. Known are {', '.join(known)}.")
        self._keep(accepted)

    def chosen(self, overrides: Mapping[str, Any], *, keep: bool) -> tuple[Chosen, list[str]]:
        """Return what counts for one request, and a warning for each override that is not known. Raises ApiError.

        keep: whether the overrides stay in force after the request. A preset does not.
        """
        stated = {name: value for name, value in overrides.items() if value is not None}
        preset = _preset(stated.pop(PRESET, None))
        accepted, unknown = self._accepted(stated)
        if keep:
            self._keep(accepted)
        values = self.all() | accepted
        served = self._served(values[CHECKPOINT])
        warnings = [f"override_settings.{name} is not supported" for name in unknown]
        if not keep:
            found = [name for name in OF_SERVER if name in accepted]
            warnings += [f"override_settings.{name} holds for the whole server: set it as an option" for name in found]
        elif preset is not None:
            warnings.append(f"override_settings.{PRESET} holds for this request alone")
        # What a preset states comes before what the server does by default.
        counting = values if preset is None else {name: values[name] for name in (SAMPLER, STEPS) if name in stated}
        chosen = Chosen(
            served,
            clip_skip=int(values[CLIP_SKIP]),
            emphasis=str(values[EMPHASIS]),
            rng=str(values[RNG]),
            sampler=sampler_of(counting.get(SAMPLER, OF_BUNDLE)),
            steps=counting.get(STEPS) or None,
            preset=preset,
        )
        return chosen, warnings

    def _keep(self, accepted: Mapping[str, Any]) -> None:
        """Take over checked values."""
        with self._changed:
            changed = {**self._given, **accepted}
            if self._file is not None and changed != self._given:
                write_options(self._file, changed)
            self._given = changed
        self._use()

    def _use(self) -> None:
        """Tell the service what concerns all its requests."""
        values = self.all()
        self._service.preview_every(values[PREVIEW_EVERY] if values[PREVIEWS] else 0)

    def _served(self, name: Any) -> ServedClass:
        classes = self._service.classes()
        return next((one for one in classes if one.title == name), classes[0])

    def _accepted(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the values to take over, and the names that are not known. Raises ApiError for a wrong value."""
        accepted, unknown = {}, []
        now = self.all()
        for name, value in values.items():
            if value is None or (name in now and value == now[name]):
                continue
            if name in (CHECKPOINT, HYPERNETWORK):
                if not (name == HYPERNETWORK and value in ("None", "")):
                    accepted[CHECKPOINT] = class_of(str(value), self._service.classes()).title
            elif name in ALLOWED:
                accepted[name] = _expected(name, value, ALLOWED[name])
            elif name in ONE_VALUE:
                _expected(name, value, (ONE_VALUE[name],))
            elif name != "sd_checkpoint_hash":
                unknown.append(name[:80])
        return accepted, unknown


def _preset(value: Any) -> str | None:
    """Return the name of a preset, which the bundle of the request checks. Raises ApiError."""
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise ApiError(422, f"option {PRESET}: {str(value)[:80]!r} is not the name of a preset.")
    return value


def _expected(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """Return the allowed value that this one is, as 1.0 is 1 and "1" is 1. Raises ApiError."""
    for one in allowed:
        if value == one or (one is not None and str(value) == str(one)):
            return one
    shown = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(map(str, allowed))
    raise ApiError(422, f"option {name}: {str(value)[:80]!r} is not available. Valid values: {shown}.")
