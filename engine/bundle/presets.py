"""The settings that a bundle holds: its defaults, and presets, which may have a learned table and own models."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.bundle.fields import Field
from engine.bundle.model_files import DecoderFiles, UnetFiles, decoder_files, unet_files
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.sampling.learned import LEARNED, LearnedTable
from engine.sampling.samplers import LANGEVIN, SAMPLERS
from engine.sampling.schedules import SCHEDULES, NoiseSchedule

__all__ = ["PRECISIONS", "Defaults", "Preset", "read_defaults", "read_presets"]

PRECISIONS = ("auto", "f32", "int8")
"""Names of precisions: the choice of the runtime, float32, and 8-bit graphs."""


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
    decoder: DecoderFiles | None = field(default=None, kw_only=True)
    """The small decoder, which draws in place of the bundle's. None takes the decoder of the bundle."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values. `table`, `unets`, `decoder` and `decoder_int8` are stated if there are some."""
        values = {name: value for name, value in vars(self).items() if name not in ("table", "unets", "decoder")}
        if self.table is not None:
            values["table"] = self.table.as_json()
        if self.unets is not None:
            values["unets"] = {name: asdict(files) for name, files in self.unets.items()}
        if self.decoder is not None:
            values |= asdict(self.decoder)
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
    _expect_with(entry, "decoder", unets is not None, "the UNets of the preset beside its small decoder")
    _expect_with(entry, "decoder_int8", entry.has("decoder"), "the float16 graph of the decoder, too")
    decoder = decoder_files(entry, files) if entry.has("decoder") else None
    settings = LEARNED, LEARNED, len(table.rows), max(table.scales), None, _precision(entry)
    return Preset(*settings, table=table, unets=unets, decoder=decoder)


def _expect_with(entry: Field, name: str, is_there: bool, expected: str) -> None:
    """Raise RequestError if a field is stated without the one that it needs."""
    if entry.has(name) and not is_there:
        raise entry[name].fail(expected)


def _precision(entry: Field) -> str:
    return entry["precision"].choice(*PRECISIONS) if entry.has("precision") else PRECISIONS[0]


def _settings(entry: Field) -> Preset:
    for name, what in (("unets", "the UNets"), ("decoder", "the decoder"), ("decoder_int8", "the decoder")):
        _expect_with(entry, name, False, f"a learned table beside {what}, which belongs to one")
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
