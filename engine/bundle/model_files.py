"""The files of the models of a bundle: UNets, decoders and the text encoder."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from engine.bundle.fields import Field

__all__ = ["DecoderFiles", "TextEncoder", "UnetFiles", "decoder_files", "text_encoder_files", "unet_files"]


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
class DecoderFiles:
    """The files of a decoder."""

    decoder: tuple[str, ...]
    """The graph of the decoder, then its weight files."""
    decoder_int8: str | None
    """The 8-bit graph of the decoder on the same weights, for `--precision int8`. None if the bundle has none."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the decoder."""
        return (*self.decoder, *filter(None, [self.decoder_int8]))


@dataclass(frozen=True)
class TextEncoder:
    """The files that turn a prompt into embeddings."""

    graph: str
    weights: tuple[str, ...]
    tokenizer: str

    @property
    def files(self) -> tuple[str, ...]:
        """All files of the text encoder."""
        return (self.graph, *self.weights, self.tokenizer)


def unet_files(entry: Field, files: Container[str]) -> UnetFiles:
    """Return the files of a UNet, which the manifest must list. Raises RequestError that names the wrong field."""
    return UnetFiles(
        unet=entry["unet"].name_in(files),
        unet_int8=entry["unet_int8"].name_in(files) if entry.has("unet_int8") else None,
        weights=tuple(weight.name_in(files) for weight in entry["weights"].elements()),
    )


def decoder_files(entry: Field, files: Container[str]) -> DecoderFiles:
    """Return the files of a decoder, which the manifest must list. Raises RequestError that names the wrong field."""
    return DecoderFiles(
        decoder=tuple(name.name_in(files) for name in entry["decoder"].elements()),
        decoder_int8=entry["decoder_int8"].name_in(files) if entry.has("decoder_int8") else None,
    )


def text_encoder_files(entry: Field, files: Container[str]) -> TextEncoder:
    """Return the files of a text encoder, which the manifest must list. Raises RequestError that names the wrong
    field."""
    return TextEncoder(
        graph=entry["graph"].name_in(files),
        weights=tuple(weight.name_in(files) for weight in entry["weights"].elements()),
        tokenizer=entry["tokenizer"].name_in(files),
    )
