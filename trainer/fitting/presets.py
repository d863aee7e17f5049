"""Settings of `fit` that suit a base. This module does not import torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from trainer.fitting.settings import ClassTrainingSettings
from trainer.training.schedule import constant, parse_steps

__all__ = ["FIT_PRESETS", "FitPreset", "preset_for", "steps_for"]

Settings = TypeVar("Settings")
LEAST_STEPS, MOST_STEPS, STEPS_PER_PICTURE = 200, 600, 10


def steps_for(pictures: int) -> int:
    """Return the number of training steps on a small base for this many source pictures.

    31 photographs were trained best with 300 to 600 steps (docs/notes/embedded-bundle.md).
    """
    return min(MOST_STEPS, max(LEAST_STEPS, STEPS_PER_PICTURE * pictures))


@dataclass(frozen=True)
class FitPreset:
    """Settings that replace the defaults of `fit`, except where an option was given."""

    loop: dict[str, Any] = field(default_factory=dict)
    """Fields of LoopSettings."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of FitOptions."""
    steps_by_pictures: bool = False
    """Whether the number of steps follows from the number of source pictures."""

    def applied(self, settings: ClassTrainingSettings, given: Collection[str], pictures: int) -> ClassTrainingSettings:
        """Return the settings with the preset's values. Raises RequestError if a given value does not fit to them.

        given: names of the fields that were given on the command line, which stay.
        """
        loop = {"steps": steps_for(pictures), **self.loop} if self.steps_by_pictures else self.loop
        return replace(
            settings, loop=_changed(settings.loop, loop, given), options=_changed(settings.options, self.options, given)
        )


def _changed(settings: Settings, values: dict[str, Any], given: Collection[str]) -> Settings:
    names = {declared.name for declared in fields(settings)}  # type: ignore[arg-type]
    wanted = {name: value for name, value in values.items() if name not in given}
    assert wanted.keys() <= names
    return replace(settings, **wanted)  # type: ignore[type-var]


FIT_PRESETS = {
    "small": FitPreset(
        loop={
            "batch_size": 8,
            "learning_rate": parse_steps("--learning-rate", "1e-4:50,1e-3"),
            "clipping": "norm",
            "clip_at": constant(1.0),
            "weight_decay": 0.0,
            "ema_decay": 0.99,
        },
        options={"latent_sampling": "deterministic", "symmetries": True, "snr_gamma": 5.0},
        steps_by_pictures=True,
    ),
    "sd15": FitPreset(),
}
"""For a base that `pretrain` made, as in recipes/cells.sh; and the thesis's settings for Stable Diffusion 1.5."""

OF_METHODS: dict[tuple[str, str], dict[str, Any]] = {
    ("small", "full"): {"learning_rate": constant(1e-4)},
    ("sd15", "lora"): {"learning_rate": constant(1e-4), "steps": 2000},
    ("sd15", "full"): {
        "learning_rate": constant(2e-6),
        "steps": 1000,
        "clipping": "norm",
        "clip_at": constant(1.0),
    },
}
"""Fields of LoopSettings by preset and method, where they differ. Those of sd15 are usual for DreamBooth and LoRA on
Stable Diffusion 1.5 (the scripts of diffusers)."""


def preset_for(name: str, method: str) -> FitPreset:
    """Return the preset of a name for a method of `fit`."""
    preset = FIT_PRESETS[name]
    return replace(preset, loop={**preset.loop, **OF_METHODS.get((name, method), {})})
