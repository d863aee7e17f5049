"""8-bit graphs of a bundle's UNets and decoder, beside the float16 ones and of the same weight files.

ONNX Runtime's static quantisation writes QuantizeLinear and DequantizeLinear before every convolution and matrix
product of a graph: activations in 8 bits without sign, one scale a tensor, from their extremes in trajectories of the
classes; weights in 8 bits with sign, one scale an output channel (Jacob et al. 2018, arXiv:1712.05877; Wu et al. 2020,
arXiv:2004.09602). The weights stay in float16 in their files and are rounded when a runtime opens the graph. Outputs
are not quantised: what follows a product (normalisation, attention, residual sums) computes in the runtime's own
precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import Bundle
from engine.bundle.request import make_request
from engine.errors import CytosynthError
from engine.files import sha256_of
from engine.pipeline.pipeline import Pipeline
from exporter.graphs import without_traces
from exporter.manifest_file import load_manifest, replace_manifest
from exporter.onnx_bundle import INT8
from exporter.parity import relative_l2
from exporter.recording import recorder_of

__all__ = ["Quantised", "write_int8"]

PICTURES = 4
"""Of each class, from seeds that no run begins at."""
FIRST_SEED = 2**31
ROWS = 120
"""Rows of a graph's inputs that its activations' extremes are taken from, evenly spaced over all that were seen."""
CHECKED = 16
"""Rows of each graph on which it is compared with float32; they are among those that it was calibrated on."""
LIMITS = {"eps": 0.25, "images": 10.0}
"""The largest error that is written: the L2 norm of eps's over that of eps, and the root mean square of grey levels."""

Rows = dict[str, NDArray[np.float32]]
"""Arrays of as many rows each, by the graph's inputs."""


@dataclass(frozen=True)
class Quantised:
    """An 8-bit graph that was written, and how far its output is from the float16 graph's, both on OpenVINO: relative
    L2 norm for `eps`, root mean square in grey levels for `images`."""

    graph: str
    output: str
    error: float


def write_int8(bundle: Bundle, *, progress: Callable[[str], None] = lambda what: None) -> list[Quantised]:
    """Add 8-bit graphs of every UNet and of the decoder to a bundle, in place of those that it has; its hash changes.

    Calibration draws PICTURES pictures a class at the bundle's default settings, on OpenVINO in float32. Raises
    CytosynthError, with the bundle as it was, where a graph is farther from float32 than LIMITS.
    """
    manifest = load_manifest(bundle.folder)
    classes = bundle.manifest.classes
    bundle.verify_for(classes)
    latents: list[NDArray[np.float32]] = []
    written: list[Quantised] = []
    staged: dict[str, Path] = {}
    with ExitStack() as at_the_end:

        def add(source: str, rows: Rows, output: str) -> str:
            """Write an 8-bit graph beside the bundle's files, where a runtime finds the weights; returns its name."""
            graph = source.replace(".onnx", INT8)
            staged[graph] = bundle.folder / f".new-{graph}"
            at_the_end.callback(staged[graph].unlink, missing_ok=True)
            progress(f"{source}: 8 bits")
            written.append(Quantised(graph, output, _write(bundle, source, staged[graph], rows, output)))
            return graph

        for unet in dict.fromkeys(entry.unet for entry in classes.values()):
            sharing = [name for name, entry in classes.items() if entry.unet == unet]
            progress(f"{unet}: pictures of {', '.join(sharing)}")
            calls: list[Rows] = []
            for class_name in sharing:
                latents.append(_draw(bundle, class_name, calls))
            graph = add(unet, _joined(calls), "eps")
            for class_name in sharing:
                manifest["classes"][class_name]["unet_int8"] = graph
        manifest["decoder_int8"] = add(bundle.manifest.decoder[0], _joined([{"latents": z} for z in latents]), "images")
        for graph, path in staged.items():
            manifest["files"][graph] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        replace_manifest(bundle.folder, manifest, staged)
    return written


def _draw(bundle: Bundle, class_name: str, calls: list[Rows]) -> NDArray[np.float32]:
    """Draw a class's pictures, add the UNet's inputs to `calls`, and return the latents (B, C, h, w)."""
    request = make_request(
        bundle.manifest, class_names=[class_name], n=1, backend="openvino", batch_size=PICTURES, precision="f32"
    )
    recorder = recorder_of(OpenVINOBackend(precision="f32", threads=request.threads, cached=False))
    with Pipeline(bundle, class_name, request, recorder) as pipeline:
        latents = pipeline.generate_latents(range(FIRST_SEED, FIRST_SEED + PICTURES))
    calls += [{name: np.asarray(value, np.float32) for name, value in inputs.items()} for inputs, _ in recorder.calls]
    return latents


def _joined(parts: Sequence[Rows]) -> Rows:
    """ROWS of all rows."""
    return _spaced({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, ROWS)


def _spaced(rows: Rows, most: int) -> Rows:
    """So many rows at most, evenly spaced."""
    count = _count(rows)
    chosen = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return {name: values[chosen] for name, values in rows.items()}


def _count(rows: Rows) -> int:
    return len(next(iter(rows.values())))


class _Reader(CalibrationDataReader):
    """Gives ONNX Runtime one row at a time."""

    def __init__(self, rows: Rows) -> None:
        self._rows: Iterator[Rows] = (
            {name: values[i : i + 1] for name, values in rows.items()} for i in range(_count(rows))
        )

    def get_next(self) -> Rows | None:
        """The next row, or None behind the last."""
        return next(self._rows, None)


def _write(bundle: Bundle, name: str, path: Path, rows: Rows, output: str) -> float:
    """Quantise a graph of the bundle into the file `path`; returns how far it is from the one that it came from."""
    plain = onnx.load(bundle.path(name), load_external_data=False)
    external = {tensor.name: tensor for tensor in plain.graph.initializer if tensor.external_data}
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "float.onnx", Path(temporary) / "int8.onnx"
        quant_pre_process(bundle.path(name), source, skip_optimization=True, skip_symbolic_shape=True)
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
    for tensor in model.graph.initializer:
        if tensor.name in external:
            tensor.CopyFrom(external.pop(tensor.name))
    assert not external, "a quantised graph keeps the names of its weights"
    _shorten_names(model)
    path.write_bytes(without_traces(model).SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)
    error = _error(bundle.path(name), path, rows, output)
    if not error <= LIMITS[output]:
        raise CytosynthError(
            f"The 8-bit graph of {name}, its {output}",
            found=f"an error of {error:.2g}",
            expected=f"at most {LIMITS[output]:g}",
            fix="nothing was written; these weights are not for 8 bits",
        )
    return error


def _error(plain: Path, quantised: Path, rows: Rows, output: str) -> float:
    """How far the two graphs are apart on CHECKED of the rows; see Quantised."""
    inputs = _spaced(rows, CHECKED)
    shapes = {name: values.shape for name, values in inputs.items()}
    outputs = (output,) if output == "eps" else (output, "finite")
    wanted, found = (
        OpenVINOBackend(precision=precision, cached=False).open(path, shapes, outputs).run(inputs)[output].astype(float)
        for path, precision in ((plain, "f32"), (quantised, "int8"))
    )
    if output == "eps":
        return relative_l2(found, wanted)
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


def _shorten_names(model: onnx.ModelProto) -> None:
    """Number the tensors between input and output: their names are a third of the graph."""
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"{len(names):x}")

    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
