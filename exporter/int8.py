"""8-bit graphs of a bundle's UNets and decoder. They use the same weight files as the float16 graphs.

ONNX Runtime's static quantisation writes QuantizeLinear and DequantizeLinear before every convolution and matrix
product of a graph (Jacob et al. 2018, arXiv:1712.05877; Wu et al. 2020, arXiv:2004.09602). Activations become unsigned
8-bit numbers with one scale per tensor, from their extremes while the bundle draws pictures of its classes. Weights
become signed 8-bit numbers with one scale per output channel. The files keep float16 weights; a runtime rounds them
when it opens the graph. Outputs are not quantised: operators after a product (normalisation, attention, residual sums)
compute in the runtime's own precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import Bundle
from engine.bundle.presets import UnetFiles
from engine.errors import CytosynthError
from engine.files import sha256_of
from engine.locks import locked_folder
from engine.progress import StageProgress, silent_stages
from exporter.computed import computing_nodes, fold, unfold
from exporter.graphs import share_equal, shorten_names, without_traces
from exporter.manifest_file import INT8, OF_PRESET, load_manifest, replace_manifest
from exporter.parity import relative_l2
from exporter.trajectory import Rows, count_of, drawn_rows, joined, spaced

__all__ = ["Quantised", "write_int8"]

PICTURES = 4
"""Pictures per class for the calibration."""
ROWS = 120
"""Rows of a graph's inputs that calibrate it, evenly spaced over all recorded rows."""
CHECKED = 16
"""Rows of the calibration on which the 8-bit graph is compared with float32."""
LIMITS = {"eps": 0.25, "images": 10.0}
"""Largest accepted error: relative L2 norm for eps, root mean square in grey levels for images."""


@dataclass(frozen=True)
class Quantised:
    """An 8-bit graph, and the difference of its output from the float16 graph's, both on OpenVINO.

    error: relative L2 norm for `eps`, root mean square in grey levels for `images`.
    """

    graph: str
    output: str
    error: float


def write_int8(bundle: Bundle, *, keep_unets: bool = False, progress: StageProgress = silent_stages) -> list[Quantised]:
    """Add 8-bit graphs of every UNet and of the decoder to a bundle, or replace them. The bundle's hash changes.

    The calibration draws PICTURES pictures per class with the bundle's default settings, on OpenVINO in float32. The
    UNets of a preset are calibrated while they draw with this preset.
    Raises CytosynthError and leaves the bundle unchanged if the error of a graph exceeds LIMITS.

    keep_unets: keep the 8-bit UNets that the bundle has, and write only the others and the decoder.
    """
    classes = bundle.manifest.classes
    decoding: list[Rows] = []
    written: list[Quantised] = []
    staged: dict[str, Path] = {}
    with locked_folder(bundle.folder), ExitStack() as at_the_end:
        manifest = load_manifest(bundle.folder)
        bundle.verify_for(classes)

        def add(source: str, rows: Rows, output: str) -> str:
            """Write an 8-bit graph into the bundle's folder, where a runtime finds the weights. Return its name."""
            graph = source.replace(".onnx", INT8)
            staged[graph] = bundle.folder / f".new-{graph}"
            at_the_end.callback(staged[graph].unlink, missing_ok=True)
            progress(f"{source}: 8 bits")
            written.append(Quantised(graph, output, _write(bundle, source, staged[graph], rows, output)))
            return graph

        for preset, unets, stated in _unets(bundle, manifest):
            for unet in dict.fromkeys(entry.unet for entry in unets.values()):
                sharing = [name for name, entry in unets.items() if entry.unet == unet]
                progress(f"{unet}: pictures of {', '.join(sharing)}")
                calls: list[Rows] = []
                for class_name in sharing:
                    drawn = drawn_rows(bundle, class_name, PICTURES, preset=preset)
                    calls += drawn.calls
                    decoding += [] if preset else [drawn.decoding]
                if keep_unets and all(unets[name].unet_int8 for name in sharing):
                    continue
                graph = add(unet, spaced(joined(calls), ROWS), "eps")
                for class_name in sharing:
                    stated[class_name]["unet_int8"] = graph
        manifest["decoder_int8"] = add(bundle.manifest.decoder[0], spaced(joined(decoding), ROWS), "images")
        for graph, path in staged.items():
            manifest["files"][graph] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        replace_manifest(bundle.folder, manifest, staged)
    return written


def _unets(
    bundle: Bundle, manifest: dict[str, Any]
) -> Iterator[tuple[str | None, Mapping[str, UnetFiles], dict[str, Any]]]:
    """Yield the UNets of the classes, and those of each preset that has some: the preset, the files by class, and the
    entries of the manifest."""
    yield None, bundle.manifest.classes, manifest["classes"]
    for name, preset in bundle.manifest.presets.items():
        if preset.unets is not None:
            yield name, preset.unets, manifest["presets"][name]["unets"]


class _Reader(CalibrationDataReader):
    """Gives ONNX Runtime one row at a time."""

    def __init__(self, rows: Rows) -> None:
        self._rows: Iterator[Rows] = (
            {name: values[i : i + 1] for name, values in rows.items()} for i in range(count_of(rows))
        )

    def get_next(self) -> Rows | None:
        """Return the next row, or None after the last one."""
        return next(self._rows, None)


def _write(bundle: Bundle, name: str, path: Path, rows: Rows, output: str) -> float:
    """Quantise a graph of the bundle, write it to the file `path`, and return its error; see Quantised."""
    plain = onnx.load(bundle.path(name), load_external_data=False)
    external = {tensor.name: tensor for tensor in plain.graph.initializer if tensor.external_data}
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "float.onnx", Path(temporary) / "int8.onnx"
        quant_pre_process(_constant(bundle.path(name)), source, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            source,
            target,
            _Reader(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "AddQDQPairToWeight": True,
                "OpTypesToExcludeOutputQuantization": ["Conv", "MatMul", "Gemm"],
                "QuantizeBias": False,
                "WeightSymmetric": True,
            },
        )
        model = onnx.load(target)
    for tensor in unfold(model, plain):
        external.pop(tensor.name, None)
    for tensor in model.graph.initializer:
        if tensor.name in external:
            tensor.CopyFrom(external.pop(tensor.name))
    assert not external, "a quantised graph keeps the names of its weights"
    if name.startswith(OF_PRESET):
        share_equal(model)
    shorten_names(model)
    path.write_bytes(without_traces(model).SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)
    error = _error(bundle.path(name), path, rows, output)
    if not error <= LIMITS[output]:
        raise CytosynthError(
            f"The output {output} of the 8-bit graph of {name}",
            found=f"an error of {error:.2g}",
            expected=f"at most {LIMITS[output]:g}",
            fix="use the float16 graphs: these weights are not suited for 8 bits; nothing was written",
        )
    return error


def _constant(path: Path) -> Path | onnx.ModelProto:
    """Return a graph whose weights are constants: the file, or a graph in memory if the file computes weights."""
    model = onnx.load(path)
    if not computing_nodes(model.graph):
        return path
    fold(model)
    return model


def _error(plain: Path, quantised: Path, rows: Rows, output: str) -> float:
    """Return the difference of the two graphs' outputs on CHECKED of the rows; see Quantised."""
    inputs = spaced(rows, CHECKED)
    shapes = {name: values.shape for name, values in inputs.items()}
    outputs = (output,) if output == "eps" else (output, "finite")
    wanted, found = (
        OpenVINOBackend(precision=precision, cached=False).open(path, shapes, outputs).run(inputs)[output].astype(float)
        for path, precision in ((plain, "f32"), (quantised, "int8"))
    )
    if output == "eps":
        return relative_l2(found, wanted)
    return float(np.sqrt(np.mean((found - wanted) ** 2)))
