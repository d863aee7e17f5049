"""The manifest of a bundle: read with the standard library and checked field by field."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.bundle.fields import Field
from engine.bundle.model_files import (
    DecoderFiles,
    TextEncoder,
    UnetFiles,
    decoder_files,
    text_encoder_files,
    unet_files,
)
from engine.bundle.presets import PRECISIONS, Defaults, Preset, read_defaults, read_presets
from engine.bundle.variants import adapters_field
from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name, look_alikes
from engine.sampling.prompt_tags import Adapter
from engine.sampling.schedules import NoiseSchedule

__all__ = [
    "DECODERS_VERSION",
    "FORMAT_VERSION",
    "UNETS_VERSION",
    "BaseFacts",
    "ClassEntry",
    "DecoderNoise",
    "FileEntry",
    "Manifest",
    "read_manifest",
]

FORMAT_VERSION = 2
"""The version that the exporter writes. Version 1, which has no `decoder_noise`, stays readable."""
UNETS_VERSION = 3
"""The version of a bundle in which a preset has UNets of its own, or a class weights of low rank. An engine that does
not know them must refuse it."""
DECODERS_VERSION = 4
"""The version of a bundle in which a preset has a decoder of its own. An engine that does not know it would draw with
the bundle's."""
ORIGINS = ("photographs", "phantom")


@dataclass(frozen=True)
class FileEntry:
    """Size and hash that a file of the bundle must have."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ClassEntry(UnetFiles):
    """A class: its files, and the origin of its training pictures."""

    context: str
    signal_leak: str | None
    """Trace of the class in its first latents (see engine.sampling.signal_leak). None starts from plain noise."""
    prompt: str
    origin: str
    """`photographs` or `phantom`."""
    pictures: int
    licence: str
    attribution: str
    adapters: tuple[Adapter, ...] | None = None
    """What the class was merged of. None in bundles of earlier versions, which do not state it."""
    low_rank: int = 0
    """Number of weights that the graph computes from other weights of the bundle and two factors, W + B A."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that this class needs besides the decoder."""
        return (*super().files, *self.inputs)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files that the UNets of presets need, too."""
        return (self.context, *filter(None, [self.signal_leak]))


@dataclass(frozen=True)
class BaseFacts:
    """What the card of the base states. The field `base_card` also holds what fitting another class needs."""

    licence: str
    attribution: str
    prompts: tuple[str, ...]
    """Prompts that the base was trained on. Empty if it knows any text."""
    crop: float | None
    """Share of the centre square that the base's training pictures kept. None if it is not known."""


@dataclass(frozen=True)
class DecoderNoise:
    """The second input of a decoder that draws grain: standard normal noise of each picture."""

    planes: int
    scale: int
    """Side of the noise relative to the side of the latents."""

    def shape(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return (planes, height, width) of the noise for one picture's latents (channels, height, width)."""
        _, height, width = latent_shape
        return self.planes, self.scale * height, self.scale * width


@dataclass(frozen=True)
class Manifest:
    """The manifest: the contract between exporter, engine and cpp_bench. Latents are (channels, height, width)."""

    name: str
    base: str
    """The base in words."""
    base_facts: BaseFacts | None
    """Licence and attribution of the base. None for a bundle whose base has no card."""
    latent_shape: tuple[int, int, int]
    latent_multiple: int
    """Height and width of latents must be multiples of this number, because the UNet halves and doubles them."""
    pixels_per_latent: int
    context_shape: tuple[int, int]
    frequencies: tuple[float, ...]
    noise: NoiseSchedule
    defaults: Defaults
    presets: dict[str, Preset]
    decoder: tuple[str, ...]
    """The graph of the decoder, then its weight files."""
    decoder_int8: str | None
    """The 8-bit graph of the decoder, for `--precision int8`, on the same weights."""
    decoder_noise: DecoderNoise | None
    """The noise that the decoders take beside the latents. None for decoders that take latents alone."""
    step: str
    vae_encoder: tuple[str, ...] | None
    """The graph of the VAE's encoder, then its weight files. None if the bundle cannot start from pictures."""
    text_encoder: TextEncoder | None
    classes: dict[str, ClassEntry]
    files: dict[str, FileEntry]

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that every class supports."""
        return self.precisions_of(None)

    def precisions_of(self, preset: str | None) -> tuple[str, ...]:
        """Return the precisions that every class of a preset supports. None: of the bundle."""
        unets = (None if preset is None else self.presets[preset].unets) or self.classes
        has_int8 = self.decoder_of(preset).decoder_int8 and all(files.unet_int8 for files in unets.values())
        return PRECISIONS if has_int8 else tuple(name for name in PRECISIONS if name != "int8")

    def unet_of(self, class_name: str, preset: str | None = None) -> UnetFiles:
        """Return the UNet of a class: that of the preset if the preset has UNets, or else that of the class.

        Raises RequestError if the preset has UNets, but none of this class.
        """
        unets = None if preset is None else self.presets[preset].unets
        if unets is None:
            return self.classes[class_name]
        if class_name not in unets:
            raise RequestError(
                f"--preset {preset}",
                found=f"the class {class_name}, of which this preset has no UNet",
                expected=f"one of {', '.join(unets)}",
                fix="choose one of these classes, or write the preset again with a merged folder of every class",
            )
        return unets[class_name]

    def decoder_of(self, preset: str | None = None) -> DecoderFiles:
        """Return the decoder of a preset: its small decoder if it has one, or else that of the bundle."""
        small = None if preset is None else self.presets[preset].decoder
        return small or DecoderFiles(self.decoder, self.decoder_int8)

    def unets_sha256(self, class_names: Iterable[str], preset: str | None) -> str | None:
        """Return the SHA-256 of the hashes of graph and weights of the preset's UNets of these classes, and of its
        small decoder.

        None if the preset has no UNets. Raises RequestError if it has none of a class.
        """
        if preset is None or self.presets[preset].unets is None:
            return None
        unets, small = [self.unet_of(name, preset) for name in class_names], self.presets[preset].decoder
        names = [name for unet in unets for name in (unet.unet, *unet.weights)]
        hashes = [self.files[name].sha256 for name in (*names, *(small.decoder if small else ()))]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def class_files(self, class_name: str, preset: str | None) -> tuple[str, ...]:
        """Return all files that a class needs with a preset besides the decoder. Raises RequestError as `unet_of`."""
        return (*self.unet_of(class_name, preset).files, *self.classes[class_name].inputs)

    def graphs(self, class_name: str, precision: str, preset: str | None = None) -> tuple[str, str]:
        """Return the UNet graph of a class and the decoder graph for a precision and a preset.

        Raises RequestError for int8 if the bundle has no 8-bit graphs, and for a class of which the preset has no UNet.
        """
        entry, decoder = self.unet_of(class_name, preset), self.decoder_of(preset)
        if precision != "int8":
            return entry.unet, decoder.decoder[0]
        if entry.unet_int8 is None or decoder.decoder_int8 is None:
            of_preset = "" if preset is None else f" for the preset {preset}"
            raise RequestError(
                "--precision int8",
                found=f"the bundle {self.name} has no 8-bit graphs of the class {class_name}{of_preset}",
                expected="a bundle with 8-bit graphs",
                fix="add 8-bit graphs with `python -m exporter int8`, or choose another precision",
            )
        return entry.unet_int8, decoder.decoder_int8

    def decoder_inputs(self, rows: int, latent_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
        """Return the input shapes of the decoder for this many pictures with these latents."""
        inputs: dict[str, tuple[int, ...]] = {"latents": (rows, *latent_shape)}
        if self.decoder_noise is not None:
            inputs["noise"] = (rows, *self.decoder_noise.shape(latent_shape))
        return inputs

    @property
    def picture_size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        _, height, width = self.latent_shape
        return width * self.pixels_per_latent, height * self.pixels_per_latent


def read_manifest(path: Path) -> Manifest:
    """Return the checked manifest. Raises RequestError that names the wrong field."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(
            f"The bundle {path.parent}",
            found="no manifest.json",
            expected="a bundle's folder",
            fix="name a folder that `python -m exporter onnx` wrote",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(
            f"The manifest {path}", found=f"unreadable ({error})", expected="JSON", fix="export the bundle again"
        ) from error
    return _manifest(Field(path, "", raw))


def _manifest(top: Field) -> Manifest:
    top["format_version"].whole(1, DECODERS_VERSION)
    files = {}
    for name, entry in top["files"].items():
        entry.check_file_name(name)
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
    noise = NoiseSchedule(
        schedule["beta_start"].number(1e-6, beta_end), beta_end, schedule["num_train_timesteps"].whole(2, 100_000)
    )
    return Manifest(
        name=_bundle_name(top["name"]),
        base=top["base"].text(),
        base_facts=_base_facts(top["base_card"]) if top.has("base_card") else None,
        latent_shape=(
            latents["channels"].whole(1, 256),
            latents["height"].whole(1, 4096),
            latents["width"].whole(1, 4096),
        ),
        latent_multiple=latents["multiple"].whole(1, 256),
        pixels_per_latent=latents["pixels_per_latent"].whole(1, 64),
        context_shape=(context["tokens"].whole(1, 4096), context["width"].whole(1, 65536)),
        frequencies=tuple(frequency.number(0, 1e6) for frequency in frequencies),
        noise=noise,
        defaults=read_defaults(defaults),
        presets=_presets(top, noise, files) if top.has("presets") else {},
        **vars(decoder_files(top, files)),
        decoder_noise=_decoder_noise(top) if top.has("decoder_noise") else None,
        step=top["step"].name_in(files),
        vae_encoder=tuple(name.name_in(files) for name in top["vae_encoder"].elements())
        if top.has("vae_encoder")
        else None,
        text_encoder=text_encoder_files(top["text_encoder"], files) if top.has("text_encoder") else None,
        classes=_class_entries(top["classes"], files, top["format_version"]),
        files=files,
    )


def _presets(top: Field, noise: NoiseSchedule, files: dict[str, FileEntry]) -> dict[str, Preset]:
    presets = read_presets(top["presets"], noise, files)
    for name, preset in presets.items():
        if preset.decoder is not None:
            top["presets"][name]["decoder"].since(DECODERS_VERSION, top["format_version"])
        for class_name in preset.unets or ():
            entry = top["presets"][name]["unets"].since(UNETS_VERSION, top["format_version"])
            if not top["classes"].has(class_name):
                raise entry[class_name].fail("a UNet of a class of the bundle")
    return presets


def _base_facts(entry: Field) -> BaseFacts:
    known = entry.has("prompts") and entry["prompts"].value != []
    return BaseFacts(
        licence=entry["licence"].text(),
        attribution=entry["attribution"].text(),
        prompts=tuple(prompt.text() for prompt in entry["prompts"].elements()) if known else (),
        crop=entry["crop"].number(1e-3, 1) if entry.has("crop") and entry["crop"].value is not None else None,
    )


def _decoder_noise(top: Field) -> DecoderNoise:
    entry = top["decoder_noise"].since(2, top["format_version"])
    return DecoderNoise(entry["planes"].whole(1, 4096), entry["scale"].whole(1, 64))


def _bundle_name(entry: Field) -> str:
    """Return the name of the bundle, which becomes part of the names of shards."""
    name = entry.text()
    if not is_class_name(name):
        raise entry.fail(CLASS_NAME_RULE)
    return name


def _class_entries(classes: Field, files: dict[str, FileEntry], version: Field) -> dict[str, ClassEntry]:
    entries = {name: _class_entry(entry, name, files, version) for name, entry in classes.items()}
    if alike := look_alikes(entries):
        raise classes.fail(f"class names that differ in more than the case of letters, not {' and '.join(alike)}")
    return entries


def _class_entry(entry: Field, name: str, files: dict[str, FileEntry], version: Field) -> ClassEntry:
    if not is_class_name(name):
        raise entry.fail(f"a class name of {CLASS_NAME_RULE}")
    return ClassEntry(
        **vars(unet_files(entry, files)),
        context=entry["context"].name_in(files),
        signal_leak=entry["signal_leak"].name_in(files) if entry.has("signal_leak") else None,
        prompt=entry["prompt"].text(),
        origin=entry["origin"].choice(*ORIGINS),
        pictures=entry["pictures"].whole(1, 10**9),
        licence=entry["licence"].text(),
        attribution=entry["attribution"].text(),
        adapters=adapters_field(entry["adapters"]) if entry.has("adapters") else None,
        low_rank=entry["low_rank"].since(UNETS_VERSION, version).whole(1, 2**31) if entry.has("low_rank") else 0,
    )
