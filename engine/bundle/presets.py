"""The settings that a bundle holds: its defaults, and presets, which may have a learned table and own UNets."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.bundle.fields import Field
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.sampling.learned import LEARNED, LearnedTable
from engine.sampling.samplers import LANGEVIN, SAMPLERS
from engine.sampling.schedules import SCHEDULES, NoiseSchedule

__all__ = ["PRECISIONS", "Defaults", "Preset", "UnetFiles", "read_defaults", "read_presets", "unet_files"]

PRECISIONS = ("auto", "f32", "int8")
"""Names of precisions: the choice of the runtime, float32, and 8-bit graphs."""


@dataclass(frozen=True)
class UnetFiles:
    """The files of a UNet."""

    unet: str
    unet_int8: str | None
    """The 8-bit graph of the UNet, for `--precision int8`. None if the bundle has none."""
    weights: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the UNet."""
        return (self.unet, *self.weights, *filter(None, [self.unet_int8]))


@dataclass(frozen=True)
class Preset:
    """Settings with a name, which replace the defaults of the bundle."""

    sampler: str
    schedule: str
    num_inference_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float] | None
    """The sigmas between which guidance applies. None applies it everywhere."""
    precision: str
    table: LearnedTable | None = field(default=None, kw_only=True)
    """The learned table that replaces sampler, schedule and guidance. None computes the table of the sampler."""
    unets: Mapping[str, UnetFiles] | None = field(default=None, kw_only=True)
    """The UNet of each class, which was trained for the learned table. None takes the UNets of the classes."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values. `table` and `unets` are stated if there are some."""
        values = {name: value for name, value in vars(self).items() if name not in ("table", "unets")}
        if self.table is not None:
            values["table"] = self.table.as_json()
        if self.unets is not None:
            values["unets"] = {name: asdict(files) for name, files in self.unets.items()}
        return values


@dataclass(frozen=True)
class Defaults(Preset):
    """Settings for everything that a request leaves out."""

    batch_size: int


def read_defaults(entry: Field) -> Defaults:
    """Return the default settings. Raises RequestError that names the wrong field."""
    return Defaults(**vars(_settings(entry)), batch_size=entry["batch_size"].whole(1, 4096))


def read_presets(presets: Field, noise: NoiseSchedule, files: Container[str]) -> dict[str, Preset]:
    """Return the presets by name. files: names that the manifest lists. Raises RequestError that names the wrong
    field."""
    for name, entry in presets.items():
        if not is_class_name(name):
            raise entry.fail(f"a preset name of {CLASS_NAME_RULE}")
    return {
        name: _learned(entry, noise, files) if entry.has("table") else _settings(entry)
        for name, entry in presets.items()
    }


def unet_files(entry: Field, files: Container[str]) -> UnetFiles:
    """Return the files of a UNet, which the manifest must list. Raises RequestError that names the wrong field."""
    return UnetFiles(
        unet=entry["unet"].name_in(files),
        unet_int8=entry["unet_int8"].name_in(files) if entry.has("unet_int8") else None,
        weights=tuple(weight.name_in(files) for weight in entry["weights"].elements()),
    )


def _learned(entry: Field, noise: NoiseSchedule, files: Container[str]) -> Preset:
    """Return a preset with a learned table, which states sampler, schedule, steps and guidance itself."""
    try:
        table = LearnedTable.parse(entry["table"].value, noise)
    except ValueError as error:
        raise entry["table"].fail(f"a learned table ({error})") from error
    unets = None
    if entry.has("unets"):
        unets = {name: unet_files(unet, files) for name, unet in entry["unets"].items()}
        if not unets:
            raise entry["unets"].fail("a UNet of at least one class")
    steps, scale = len(table.rows), max(table.scales)
    return Preset(LEARNED, LEARNED, steps, scale, None, _precision(entry), table=table, unets=unets)


def _precision(entry: Field) -> str:
    return entry["precision"].choice(*PRECISIONS) if entry.has("precision") else PRECISIONS[0]


def _settings(entry: Field) -> Preset:
    if entry.has("unets"):
        raise entry["unets"].fail("a learned table beside the UNets, which were trained for one")
    interval = None
    if entry.has("guidance_interval"):
        bounds = entry["guidance_interval"].elements()
        if len(bounds) != 2:
            raise entry["guidance_interval"].fail("two numbers")
        low = bounds[0].number(0, 1e6)
        interval = (low, bounds[1].number(low, 1e6))
    return Preset(
        # A bundle cannot hold the settings of the sampler langevin.
        sampler=entry["sampler"].choice(*(sampler for sampler in SAMPLERS if sampler != LANGEVIN)),
        schedule=entry["schedule"].choice(*SCHEDULES),
        num_inference_steps=entry["num_inference_steps"].whole(1, 1000),
        guidance_scale=entry["guidance_scale"].number(0, 100),
        guidance_interval=interval,
        precision=_precision(entry),
    )
