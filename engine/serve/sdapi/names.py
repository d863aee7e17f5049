"""Names of the WebUI for samplers, schedules, upscalers and checkpoints, and what of ours they mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.output.infotext import (
    REFUSED_NAMES,
    SAMPLER_ALIASES,
    SAMPLER_NAMES,
    SCHEDULE_ALIASES,
    SCHEDULE_NAMES,
    UPSCALER_NAMES,
    sampler_of,
    schedule_of,
    split_sampler,
)
from engine.sampling.learned import LEARNED
from engine.sampling.samplers import NO_TABLE, SAMPLERS
from engine.serve.sdapi.errors import ApiError
from engine.serve.service import ServedClass

__all__ = [
    "LATENT_MODES",
    "PRESET",
    "aliases_of",
    "class_of",
    "hires_upscaler_of",
    "is_same",
    "sampler_settings",
    "schedule_aliases",
]

LATENT_MODES = {
    "Latent": "latent",
    "Latent (antialiased)": "latent",
    "Latent (bicubic)": "latent-bicubic",
    "Latent (bicubic antialiased)": "latent-bicubic",
    "Latent (nearest)": "latent-nearest",
    "Latent (nearest-exact)": "latent-nearest",
}
"""The filters of latents. Ours smooth as the antialiased ones do."""
PRESET = "cytosynth_preset"
"""The option that names a preset. Only the overrides of a request may state it, because each bundle has its own."""
SAME = ("", "none", "use same sampler", "use same scheduler", "use same checkpoint")
"""Words for what the first pass has."""


def aliases_of(sampler: str) -> list[str]:
    """Return the other names of our sampler that clients may send."""
    return [sampler, *(alias for alias, ours in SAMPLER_ALIASES.items() if ours == sampler)]


def schedule_aliases(schedule: str) -> list[str]:
    """Return the other names of our schedule that clients may send."""
    return [alias for alias, ours in SCHEDULE_ALIASES.items() if ours == schedule]


def sampler_settings(name: str | None, scheduler: str | None) -> dict[str, Any]:
    """Return sampler and schedule by our names. What is not given is left out, so that the bundle decides.

    A schedule at the end of the sampler's name, as in `DPM++ 2M Karras`, counts if no other is given. Raises ApiError.
    """
    found: dict[str, Any] = {}
    at_end = None
    if name:
        whole = _sampler(name)
        short, at_end = (name, None) if whole else split_sampler(name)
        sampler = whole or _sampler(short)
        if refused := REFUSED_NAMES.get(short.lower()):
            raise ApiError(400, f"Sampler not available: {name}. {NO_TABLE[refused]}.")
        if sampler is None and name.lower() == LEARNED:
            instead = f"Name the preset in override_settings.{PRESET}, and leave out sampler, scheduler and steps."
            raise ApiError(400, f"Sampler not found: {name}. It is the learned table of a preset. {instead}")
        if sampler is None:
            raise ApiError(400, f"Sampler not found: {name}. Known are {', '.join(SAMPLER_NAMES.values())}.")
        found["sampler"] = sampler
    words = scheduler or at_end
    if words:
        # The own schedule of a sampler is what the engine takes if none is named.
        native = SAMPLERS[found["sampler"]].schedule if "sampler" in found else ""
        schedule = schedule_of(words, native) if words not in SCHEDULE_NAMES else words
        if schedule is None:
            names = ["Automatic", *SCHEDULE_NAMES.values()]
            raise ApiError(422, f"Scheduler not found: {words}. Known are {', '.join(names)}.")
        found["schedule"] = schedule or None
    return found


def _sampler(name: str) -> str | None:
    return name if name in SAMPLER_NAMES else sampler_of(name)


def hires_upscaler_of(name: str) -> str:
    """Return our name of what enlarges the first pass. Raises ApiError."""
    shown = {**LATENT_MODES, **{words: ours for ours, words in UPSCALER_NAMES.items()}}
    if name in shown:
        return shown[name]
    raise ApiError(422, f"hr_upscaler not found: {name}. Known are {', '.join(shown)}.")


def class_of(name: str, classes: Sequence[ServedClass]) -> ServedClass:
    """Return the class that a checkpoint's title, model name, class name or a part of the title names.

    Raises ApiError with the titles if there is none, or if a part belongs to several.
    """
    wanted = name.strip()
    for names in (
        [one.title for one in classes],
        [one.model for one in classes],
        [one.name for one in classes],
    ):
        if found := _only(classes, (place for place, own in enumerate(names) if own == wanted)):
            return found
    parts = (place for place, one in enumerate(classes) if wanted and wanted.lower() in one.title.lower())
    if found := _only(classes, parts):
        return found
    titles = ", ".join(one.title for one in classes)
    raise ApiError(422, f"model '{name[:80]}' not found. Known are {titles}.")


def _only(classes: Sequence[ServedClass], places: Iterable[int]) -> ServedClass | None:
    """Return the class if there is exactly one."""
    found = list(places)
    return classes[found[0]] if len(found) == 1 else None


def is_same(words: str) -> bool:
    """Return whether a field of the second pass says that it is as in the first."""
    return words.lower() in SAME
