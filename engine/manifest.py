"""The bundle's manifest: read with the standard library, checked field by field, never trusted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.samplers import LANGEVIN, SAMPLERS
from engine.schedules import SCHEDULES, NoiseSchedule

__all__ = [
    "FORMAT_VERSION",
    "ClassEntry",
    "Defaults",
    "FileEntry",
    "Manifest",
    "Preset",
    "TextEncoder",
    "read_manifest",
]

FORMAT_VERSION = 1
ORIGINS = ("photographs", "phantom")


@dataclass(frozen=True)
class FileEntry:
    """What a file of the bundle must be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ClassEntry:
    """A class: its files, and where its pictures came from."""

    unet: str
    weights: tuple[str, ...]
    context: str
    prompt: str
    origin: str
    """`photographs` or `phantom`."""
    pictures: int
    licence: str
    attribution: str

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that this class needs beside the decoder."""
        return (self.unet, *self.weights, self.context)


@dataclass(frozen=True)
class TextEncoder:
    """The files that turn a free prompt into embeddings."""

    graph: str
    weights: tuple[str, ...]
    tokenizer: str

    @property
    def files(self) -> tuple[str, ...]:
        """All of them."""
        return (self.graph, *self.weights, self.tokenizer)


@dataclass(frozen=True)
class Defaults:
    """What a command line leaves out."""

    sampler: str
    schedule: str
    num_inference_steps: int
    guidance_scale: float
    batch_size: int


@dataclass(frozen=True)
class Preset:
    """What stands in place of the defaults where it is asked for by its name."""

    sampler: str
    schedule: str
    num_inference_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Manifest:
    """The contract between exporter, engine and cpp_bench. Latents are (channels, height, width)."""

    name: str
    base: str
    latent_shape: tuple[int, int, int]
    latent_multiple: int
    """Height and width of the latents must be multiples of this: the UNet halves them and doubles them again."""
    pixels_per_latent: int
    context_shape: tuple[int, int]
    frequencies: tuple[float, ...]
    noise: NoiseSchedule
    defaults: Defaults
    presets: dict[str, Preset]
    decoder: tuple[str, ...]
    """The decoder's graph, then its weight files."""
    step: str
    text_encoder: TextEncoder | None
    classes: dict[str, ClassEntry]
    files: dict[str, FileEntry]

    @property
    def picture_size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        _, height, width = self.latent_shape
        return width * self.pixels_per_latent, height * self.pixels_per_latent


def read_manifest(path: Path) -> Manifest:
    """Read and check manifest.json. Raises RequestError that names the field."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(
            f"The bundle {path.parent}",
            found="no manifest.json",
            expected="a bundle's folder",
            mend="name a folder that `python -m exporter onnx` wrote",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(
            f"The manifest {path}", found=f"unreadable ({error})", expected="JSON", mend="export the bundle again"
        ) from error
    return _manifest(_Reader(path, "", raw))


class _Reader:
    """A JSON value, its place in the manifest, and the checks that it must pass."""

    def __init__(self, path: Path, field: str, value: Any) -> None:
        self.path, self.field, self.value = path, field, value

    def fail(self, expected: str) -> RequestError:
        try:
            shown = json.dumps(self.value)
        except RecursionError:
            shown = "a value that is nested too deep"
        found = shown if len(shown) <= 80 else shown[:77] + "..."
        subject = f"The manifest {self.path}, field {self.field or '(top)'}"
        return RequestError(subject, found=found, expected=expected, mend="export the bundle again")

    def __getitem__(self, name: str) -> _Reader:
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        field = f"{self.field}.{name}" if self.field else name
        if name not in self.value:
            raise _Reader(self.path, field, None).fail("a value; it is missing")
        return _Reader(self.path, field, self.value[name])

    def has(self, name: str) -> bool:
        return isinstance(self.value, dict) and name in self.value

    def items(self) -> list[tuple[str, _Reader]]:
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        return [(name, self[name]) for name in self.value]

    def elements(self) -> list[_Reader]:
        if not isinstance(self.value, list) or not self.value:
            raise self.fail("a list with something in it")
        return [_Reader(self.path, f"{self.field}[{i}]", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value or not self.value.isprintable():
            raise self.fail("printable text")
        return self.value

    def choice(self, *allowed: str) -> str:
        if self.text() not in allowed:
            raise self.fail(f"one of {', '.join(allowed)}")
        return self.text()

    def whole(self, low: int, high: int) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self.fail(f"a whole number in {low}..{high}")
        return self.value

    def number(self, low: float, high: float) -> float:
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        # The comparison comes first: a whole number of many digits is no float.
        if not is_number or not low <= self.value <= high:
            raise self.fail(f"a number in [{low:g}, {high:g}]")
        return float(self.value)

    def file_name(self, files: dict[str, FileEntry]) -> str:
        if self.text() not in files:
            raise self.fail("a name that stands under files")
        return self.text()


def _manifest(top: _Reader) -> Manifest:
    if top["format_version"].value != FORMAT_VERSION:
        raise top["format_version"].fail(f"{FORMAT_VERSION}, the version that this engine reads")
    files = {}
    for name, entry in top["files"].items():
        _check_file_name(entry, name)
        digest = entry["sha256"]
        if not re.fullmatch("[0-9a-f]{64}", digest.text()):
            raise digest.fail("64 hexadecimal digits")
        files[name] = FileEntry(digest.text(), entry["bytes"].whole(0, 2**48))
    latents, context, schedule, defaults = top["latents"], top["context"], top["schedule"], top["defaults"]
    schedule["kind"].choice("scaled_linear")
    schedule["prediction_type"].choice("epsilon")
    top["time_features"]["order"].choice("cos_sin")
    frequencies = top["time_features"]["frequencies"].elements()
    beta_end = schedule["beta_end"].number(1e-6, 0.5)
    return Manifest(
        name=_bundle_name(top["name"]),
        base=top["base"].text(),
        latent_shape=(
            latents["channels"].whole(1, 256),
            latents["height"].whole(1, 4096),
            latents["width"].whole(1, 4096),
        ),
        latent_multiple=latents["multiple"].whole(1, 256),
        pixels_per_latent=latents["pixels_per_latent"].whole(1, 64),
        context_shape=(context["tokens"].whole(1, 4096), context["width"].whole(1, 65536)),
        frequencies=tuple(frequency.number(0, 1e6) for frequency in frequencies),
        noise=NoiseSchedule(
            schedule["beta_start"].number(1e-6, beta_end), beta_end, schedule["num_train_timesteps"].whole(2, 100_000)
        ),
        defaults=Defaults(
            sampler=defaults["sampler"].choice(*SAMPLERS),
            schedule=defaults["schedule"].choice(*SCHEDULES),
            num_inference_steps=defaults["num_inference_steps"].whole(1, 1000),
            guidance_scale=defaults["guidance_scale"].number(0, 100),
            batch_size=defaults["batch_size"].whole(1, 4096),
        ),
        presets={name: _preset(entry, name) for name, entry in top["presets"].items()} if top.has("presets") else {},
        decoder=tuple(name.file_name(files) for name in top["decoder"].elements()),
        step=top["step"].file_name(files),
        text_encoder=_text_encoder(top["text_encoder"], files) if top.has("text_encoder") else None,
        classes={name: _class_entry(entry, name, files) for name, entry in top["classes"].items()},
        files=files,
    )


def _bundle_name(entry: _Reader) -> str:
    """It becomes part of shards' names."""
    name = entry.text()
    if not is_class_name(name):
        raise entry.fail(CLASS_NAME_RULE)
    return name


def _preset(entry: _Reader, name: str) -> Preset:
    if not is_class_name(name):
        raise entry.fail(f"a preset's name of {CLASS_NAME_RULE}")
    interval = None
    if entry.has("guidance_interval"):
        bounds = entry["guidance_interval"].elements()
        if len(bounds) != 2:
            raise entry["guidance_interval"].fail("two numbers")
        low = bounds[0].number(0, 1e6)
        interval = (low, bounds[1].number(low, 1e6))
    return Preset(
        # Langevin's own settings are no part of a preset.
        sampler=entry["sampler"].choice(*(sampler for sampler in SAMPLERS if sampler != LANGEVIN)),
        schedule=entry["schedule"].choice(*SCHEDULES),
        num_inference_steps=entry["num_inference_steps"].whole(1, 1000),
        guidance_scale=entry["guidance_scale"].number(0, 100),
        guidance_interval=interval,
    )


def _text_encoder(entry: _Reader, files: dict[str, FileEntry]) -> TextEncoder:
    return TextEncoder(
        graph=entry["graph"].file_name(files),
        weights=tuple(weight.file_name(files) for weight in entry["weights"].elements()),
        tokenizer=entry["tokenizer"].file_name(files),
    )


def _class_entry(entry: _Reader, name: str, files: dict[str, FileEntry]) -> ClassEntry:
    if not is_class_name(name):
        raise entry.fail(f"a class name of {CLASS_NAME_RULE}")
    return ClassEntry(
        unet=entry["unet"].file_name(files),
        weights=tuple(weight.file_name(files) for weight in entry["weights"].elements()),
        context=entry["context"].file_name(files),
        prompt=entry["prompt"].text(),
        origin=entry["origin"].choice(*ORIGINS),
        pictures=entry["pictures"].whole(1, 10**9),
        licence=entry["licence"].text(),
        attribution=entry["attribution"].text(),
    )


def _check_file_name(entry: _Reader, name: str) -> None:
    """Only plain names inside the bundle: a manifest must not reach other folders."""
    parts = PurePosixPath(name).parts
    if (
        not name.isprintable()
        or len(name.encode()) > 200
        or "\\" in name
        or ":" in name
        or len(parts) != 1
        or parts[0] in (".", "..", "/")
    ):
        raise entry.fail("a plain file name, without folders")
