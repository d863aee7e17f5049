"""8-bit graphs of a bundle's UNets and decoders. They use the same weight files as the float16 graphs.

`exporter.quantisation` says which tensors are rounded. The ranges of activations are their extremes while the bundle
draws pictures of its classes, on OpenVINO in float32. A runtime rounds the weights when it opens the graph. Operators
after a product (normalisation, attention, residual sums) compute in the runtime's own precision.

One graph at a time is open, for one row, so that a large UNet needs the memory of one compiled graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from engine.bundle.folder import Bundle
from engine.bundle.model_files import UnetFiles
from engine.errors import CytosynthError
from engine.files import sha256_of
from engine.locks import locked_folder
from engine.progress import StageProgress, silent_stages
from exporter.graphs import share_equal, shorten_names, without_traces
from exporter.manifest_file import INT8, OF_PRESET, load_manifest, replace_manifest
from exporter.parity import psnr_db, relative_l2
from exporter.quantisation import Range, quantise, weights_of
from exporter.row_by_row import Observed, RowByRow
from exporter.settings import Int8Settings
from exporter.trajectory import FIRST_SEED, Rows, Trajectory, trajectory_of

__all__ = ["CALIBRATING", "COMPARED", "Comparison", "EightBits", "Quantised", "write_int8"]

CALIBRATING = Int8Settings.pictures
"""Pictures per class for the calibration."""
COMPARED = 2
"""Further pictures per class, on which 8 bits are compared with float32."""
LIMITS = {"eps": 0.25, "images": 10.0}
"""Largest accepted error: relative L2 norm for eps, root mean square in grey levels for images."""
IMAGES = ("images", "finite")


@dataclass(frozen=True)
class Quantised:
    """An 8-bit graph, and the difference of its output from the float16 graph's on the pictures that are compared.

    error: relative L2 norm for `eps`, root mean square in grey levels for `images`.
    """

    graph: str
    output: str
    error: float


@dataclass(frozen=True)
class Comparison:
    """Pictures in 8 bits beside the same seeds in float32, on prompts of one class.

    by_sigma: noise level and relative L2 error of the UNet for each step, on float32's inputs.
    latents: relative L2 error of the final latents.
    psnr_db: PSNR of the pictures.
    """

    class_name: str
    preset: str | None
    by_sigma: list[tuple[float, float]]
    latents: float
    psnr_db: float


@dataclass(frozen=True)
class EightBits:
    """The 8-bit graphs that were written, and what they do to pictures."""

    graphs: list[Quantised]
    comparisons: list[Comparison]


def write_int8(
    bundle: Bundle,
    *,
    keep_unets: bool = False,
    pictures: int = CALIBRATING,
    progress: StageProgress = silent_stages,
) -> EightBits:
    """Add 8-bit graphs of every UNet and decoder to a bundle, or replace them. The bundle's hash changes.

    The calibration draws pictures of each class with the bundle's default settings, and COMPARED further ones, which
    the graphs are judged on. UNets and small decoder of a preset are calibrated while they draw with this preset.
    Raises CytosynthError and leaves the bundle unchanged if the error of a graph exceeds LIMITS.

    keep_unets: keep the 8-bit UNets that the bundle has, and write only the others and the decoders.
    pictures: number of pictures per class for the calibration.
    """
    with locked_folder(bundle.folder), ExitStack() as at_the_end:
        manifest = load_manifest(bundle.folder)
        for preset, unets, _ in _unets(bundle, manifest):
            bundle.verify_for(unets, preset)
        work = _Work(bundle, pictures, at_the_end, progress)
        for preset, unets, stated in _unets(bundle, manifest):
            for unet in dict.fromkeys(entry.unet for entry in unets.values()):
                sharing = [name for name, entry in unets.items() if entry.unet == unet]
                kept = {unets[name].unet_int8 for name in sharing} if keep_unets else {None}
                graph = work.add_unet(unet, sharing, preset, None if None in kept else kept.pop())
                for class_name in sharing:
                    stated[class_name]["unet_int8"] = graph
        for decoder, entry in _decoders(bundle, manifest):
            entry["decoder_int8"] = work.add_decoder(decoder)
        for graph, path in work.staged.items():
            manifest["files"][graph] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        replace_manifest(bundle.folder, manifest, work.staged)
    return EightBits(work.written, work.comparisons)


def _unets(
    bundle: Bundle, manifest: dict[str, Any]
) -> Iterator[tuple[str | None, Mapping[str, UnetFiles], dict[str, Any]]]:
    """Yield the UNets of the classes, and those of each preset that has some: the preset, the files by class, and the
    entries of the manifest."""
    yield None, bundle.manifest.classes, manifest["classes"]
    for name, preset in bundle.manifest.presets.items():
        if preset.unets is not None:
            yield name, preset.unets, manifest["presets"][name]["unets"]


def _decoders(bundle: Bundle, manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the graph of the bundle's decoder and of each small decoder, with the entry that names it."""
    yield bundle.manifest.decoder[0], manifest
    for name, preset in bundle.manifest.presets.items():
        if preset.decoder is not None:
            yield preset.decoder.decoder[0], manifest["presets"][name]


@dataclass(frozen=True)
class _Drawn:
    """The UNet's comparison on a class, and the decoder's inputs of all pictures in float32 and of the compared ones in
    8 bits."""

    class_name: str
    preset: str | None
    by_sigma: list[tuple[float, float]]
    exact: Rows
    rounded: Rows


@dataclass
class _Work:
    """The graphs that are written. New files lie in the bundle's folder under other names until all are made."""

    bundle: Bundle
    pictures: int
    at_the_end: ExitStack
    progress: StageProgress
    written: list[Quantised] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    staged: dict[str, Path] = field(default_factory=dict)
    drawn: list[_Drawn] = field(default_factory=list)

    @property
    def seeds(self) -> range:
        """The seeds of the pictures for the calibration, and then of those that are compared."""
        return range(FIRST_SEED, FIRST_SEED + self.pictures + COMPARED)

    def add_unet(self, unet: str, class_names: list[str], preset: str | None, kept: str | None) -> str:
        """Write the 8-bit graph of a UNet unless one is kept, and compare it. Return its name."""
        self.progress(f"{unet}: pictures of {', '.join(class_names)}")
        with Observed(self.bundle.path(unet), ("eps",), len(self.seeds), self.pictures) as exact:
            paths = {name: trajectory_of(self.bundle, name, self.seeds, exact.run, preset) for name in class_names}
        graph = kept or self._write(unet, exact.ranges)
        self.progress(f"{graph}: the same pictures")
        with RowByRow(self.staged.get(graph, self.bundle.path(graph)), ("eps",), "int8") as rounded:
            for name, path in paths.items():
                decoding = trajectory_of(self.bundle, name, self.seeds[-COMPARED:], rounded.run, preset).decoding
                self.drawn.append(_Drawn(name, preset, _by_sigma(path, rounded), path.decoding, decoding))
        found = self.drawn[-len(class_names) :]
        if kept is None:
            norm = np.sqrt(np.mean([error**2 for one in found for _, error in one.by_sigma]))
            self._judge(Quantised(graph, "eps", float(norm)), unet)
        return graph

    def add_decoder(self, decoder: str) -> str:
        """Write the 8-bit graph of a decoder, and compare the pictures that it draws. Return its name."""
        drawn = [one for one in self.drawn if self.bundle.manifest.decoder_of(one.preset).decoder[0] == decoder]
        self.progress(f"{decoder}: the decoded pictures")
        with Observed(self.bundle.path(decoder), IMAGES, len(self.seeds), self.pictures) as exact:
            images = [exact.run(one.exact)["images"][-COMPARED:].astype(float) for one in drawn]
        graph = self._write(decoder, exact.ranges)
        errors = []
        with RowByRow(self.staged[graph], IMAGES, "int8") as rounded:
            for one, wanted in zip(drawn, images, strict=True):
                same, found = (rounded.run(rows)["images"].astype(float) for rows in (_last(one.exact), one.rounded))
                errors.append(same - wanted)
                latents = relative_l2(one.rounded["latents"], _last(one.exact)["latents"])
                comparison = Comparison(one.class_name, one.preset, one.by_sigma, latents, psnr_db(found - wanted))
                self.comparisons.append(comparison)
        self._judge(Quantised(graph, "images", float(np.sqrt(np.mean(np.square(errors))))), decoder)
        return graph

    def _write(self, source: str, ranges: Mapping[str, Range]) -> str:
        """Write an 8-bit graph into the bundle's folder, where a runtime finds the weights. Return its name."""
        graph = source.replace(".onnx", INT8)
        self.progress(f"{source}: 8 bits")
        path = self.staged[graph] = self.bundle.folder / f".new-{graph}"
        self.at_the_end.callback(path.unlink, missing_ok=True)
        model = onnx.load(self.bundle.path(source), load_external_data=False)
        quantise(model, ranges, weights_of(model, self.bundle.folder))
        if source.startswith(OF_PRESET):
            share_equal(model)
        shorten_names(model)
        path.write_bytes(without_traces(model).SerializeToString(deterministic=True))
        onnx.checker.check_model(path, full_check=True)
        return graph

    def _judge(self, made: Quantised, source: str) -> None:
        """Raise CytosynthError for an error above its limit."""
        if not made.error <= LIMITS[made.output]:
            raise CytosynthError(
                f"The output {made.output} of the 8-bit graph of {source}",
                found=f"an error of {made.error:.2g}",
                expected=f"at most {LIMITS[made.output]:g}",
                fix="use the float16 graphs: these weights are not suited for 8 bits; nothing was written",
            )
        self.written.append(made)


def _by_sigma(path: Trajectory, rounded: RowByRow) -> list[tuple[float, float]]:
    """Return the noise level of each call and the error of the 8-bit UNet there, on the rows of the compared pictures;
    see Comparison."""
    errors = []
    for sigma, (inputs, outputs) in zip(path.sigmas, path.calls, strict=True):
        compared = (
            np.arange(len(outputs["eps"])) % len(path.decoding["latents"]) >= len(path.decoding["latents"]) - COMPARED
        )
        found = rounded.run({name: values[compared] for name, values in inputs.items()})["eps"]
        errors.append((sigma, relative_l2(found, outputs["eps"][compared])))
    return errors


def _last(rows: Rows) -> dict[str, NDArray[np.float32]]:
    """Return the rows of the compared pictures."""
    return {name: values[-COMPARED:] for name, values in rows.items()}
