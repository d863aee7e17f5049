"""Where a graph loses precision: its layers compared with float32, run by Polygraphy on ONNX Runtime."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper
from polygraphy.backend.onnx import modify_outputs, onnx_from_path
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.comparator import Comparator

from engine.bundle.folder import Bundle
from engine.errors import RequestError
from engine.progress import StageProgress, silent_stages
from exporter.inspection.graph_facts import tensor_types
from exporter.inspection.twins import float32_twin, renamed_like
from exporter.parity import relative_l2
from exporter.trajectory import drawn_rows, joined, spaced

__all__ = ["Drift", "LayerDrift", "drift_of", "measure_drift"]

ROWS = 4
"""Rows of a trajectory with which the UNet is compared."""
CHUNK_BYTES = 2**28
"""Bytes of the outputs that one pass through a twin returns for one row."""
COMPARED: dict[int, str] = {TensorProto.FLOAT16: "float16", TensorProto.FLOAT: "float32", TensorProto.UINT8: "uint8"}
"""Types of the compared outputs. Layers that compute with other whole numbers compute shapes."""


@dataclass(frozen=True)
class LayerDrift:
    """A layer's output compared with float32. An error is not finite if the tested graph overflowed."""

    name: str
    kind: str
    dtype: str
    """The type in which the graph stores the output."""
    module: str
    """The last layer at or before this one whose weights have a name."""
    largest_error: float
    """Largest absolute difference."""
    relative_error: float
    """Root mean square over the rows of the L2 norm of the difference divided by the L2 norm of the output."""
    largest_value: float
    """Largest absolute value in float32."""
    by_row: tuple[float, ...]
    """The relative error of each row."""
    share: float
    """Growth of the squared relative error from the worst input to the output, relative to the sum over all layers."""


@dataclass(frozen=True)
class Drift:
    """The compared layers of a graph in their order, and the number of rows of inputs."""

    graph: str
    compared_with: str
    rows: int
    layers: tuple[LayerDrift, ...]
    outputs: tuple[LayerDrift, ...]
    """Those of the layers that make the outputs of the graph."""

    @property
    def worst(self) -> list[LayerDrift]:
        """The layers by their share, the largest first. Layers that overflow come before all others."""
        return sorted(self.layers, key=lambda layer: (math.isfinite(layer.relative_error), -layer.share))

    @property
    def largest_half(self) -> float:
        """The largest number of float16: 65504."""
        return float(np.finfo(np.float16).max)

    @property
    def largest(self) -> LayerDrift | None:
        """The layer with the largest value that the graph stores in float16, or None without such layers."""
        halves = [layer for layer in self.layers if layer.dtype == "float16"]
        return max(halves, key=lambda layer: layer.largest_value, default=None)


@dataclass(frozen=True)
class _Errors:
    """The comparison of one tensor on one row."""

    largest_error: float
    relative_error: float
    largest_value: float


def drift_of(
    bundle: Bundle, class_name: str, graph: str, *, int8: bool = False, progress: StageProgress = silent_stages
) -> Drift:
    """Compare a graph of a bundle with float32 on what it gets while the bundle draws one picture of a class.

    The UNet gets ROWS of the trajectory's rows, evenly spaced; the decoder the final latents; the encoder the picture.

    Args:
        bundle: The bundle. Its files are checked first.
        class_name: A class of the bundle.
        graph: unet, vae_decoder or vae_encoder.
        int8: Compare the 8-bit graph instead of the float16 graph.
        progress: Receives a line for each pass.

    Raises RequestError before anything is loaded if the bundle lacks the graph.
    """
    name, quantised = _files(bundle, class_name, graph, int8)
    bundle.verify_for([class_name], None)
    progress(f"{class_name}: one picture")
    drawn = drawn_rows(bundle, class_name, 1, decoded=graph == "vae_encoder")
    rows: Mapping[str, NDArray[Any]]
    if graph == "unet":
        rows = spaced(joined(drawn.calls), ROWS)
    elif graph == "vae_decoder":
        rows = drawn.decoding
    else:
        assert drawn.images is not None, "the picture was decoded"
        rows = {"images": drawn.images}
    path = None if quantised is None else bundle.path(quantised)
    return measure_drift(bundle.path(name), rows, quantised=path, progress=progress)


def _files(bundle: Bundle, class_name: str, graph: str, int8: bool) -> tuple[str, str | None]:
    """Return the names of a graph and of its 8-bit graph, which is None without `int8`. Raises RequestError."""
    manifest = bundle.manifest
    if graph != "vae_encoder":
        place = 0 if graph == "unet" else 1
        eight_bit = manifest.graphs(class_name, "int8")[place] if int8 else None
        return manifest.graphs(class_name, "auto")[place], eight_bit
    if int8:
        raise RequestError(
            "--against int8",
            found="--graph vae_encoder, which has no 8-bit graph",
            expected="unet or vae_decoder",
            fix="choose another graph, or leave out --against",
        )
    if manifest.vae_encoder is None:
        raise RequestError(
            "--graph vae_encoder",
            found=f"the bundle {manifest.name} without an encoder",
            expected="a bundle that can start from pictures",
            fix="export a class again without --no-vae-encoder, or choose another graph",
        )
    return manifest.vae_encoder[0], None


def measure_drift(
    path: Path,
    rows: Mapping[str, NDArray[Any]],
    *,
    quantised: Path | None = None,
    progress: StageProgress = silent_stages,
) -> Drift:
    """Compare every layer of a graph with float32 on rows of inputs.

    Both sides are twins in float32; exporter.inspection.twins explains them. The float16 graph is compared, or its
    8-bit graph `quantised`. Outputs of layers are compared in passes of at most CHUNK_BYTES, one row at a time.
    """
    model = onnx_from_path(str(path), ignore_external_data=True)
    plain = float32_twin(model, rounded=False)
    if quantised is None:
        tested = float32_twin(model, rounded=True)
    else:
        eight_bit = onnx_from_path(str(quantised), ignore_external_data=True)
        tested = float32_twin(renamed_like(eight_bit, model), rounded=False)
    types = tensor_types(model)
    made = {name for node in tested.graph.node for name in node.output}
    watched = [
        name for node in model.graph.node for name in node.output if types.get(name) in COMPARED and name in made
    ]
    inputs = [{name: values[i : i + 1] for name, values in rows.items()} for i in range(len(next(iter(rows.values()))))]
    found: dict[str, list[_Errors]] = defaultdict(list)
    chunks = [*_chunks(_sizes(plain, path.parent, watched, inputs[0]))]
    for number, chunk in enumerate(chunks, 1):
        progress(f"{path.name}: pass {number} of {len(chunks)}, {len(chunk)} layers")
        for name, errors in _compared(plain, tested, path.parent, chunk, inputs):
            found[name].append(errors)
    layers = tuple(_layers(model, types, found))
    outputs = {value.name for value in model.graph.output}
    return Drift(
        graph=path.name,
        compared_with="float16" if quantised is None else "8 bits",
        rows=len(inputs),
        layers=layers,
        outputs=tuple(layer for layer in layers if layer.name in outputs),
    )


def _session(model: onnx.ModelProto, weights: Path) -> ort.InferenceSession:
    """Return a session that computes a graph literally: optimisations could change where it rounds."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights.resolve()))
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _sizes(
    model: onnx.ModelProto, weights: Path, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, int]:
    """Return the bytes of the named tensors for these inputs, from a run that returns only their shapes."""
    shaped = onnx.ModelProto()
    shaped.CopyFrom(model)
    del shaped.graph.output[:]
    for name in names:
        shaped.graph.node.append(helper.make_node("Shape", [name], [f"{name}/shape"]))
        shaped.graph.output.append(helper.make_tensor_value_info(f"{name}/shape", TensorProto.INT64, None))
    shapes = _session(shaped, weights).run(None, dict(inputs))
    return {name: 4 * math.prod(map(int, shape)) for name, shape in zip(names, shapes, strict=True)}


def _chunks(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Divide tensors into runs of at most CHUNK_BYTES. A larger tensor is alone."""
    chunk: list[str] = []
    total = 0
    for name, size in sizes.items():
        if chunk and total + size > CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += size
    yield chunk


def _compared(
    plain: onnx.ModelProto,
    tested: onnx.ModelProto,
    weights: Path,
    names: Sequence[str],
    inputs: Iterable[Mapping[str, NDArray[Any]]],
) -> Iterator[tuple[str, _Errors]]:
    """Run both twins on each row, and yield the errors of the named tensors."""
    runners = [
        OnnxrtRunner(_session(modify_outputs(twin, outputs=list(names)), weights), name=name)
        for name, twin in (("float32", plain), ("tested", tested))
    ]
    # The errors are computed here: Polygraphy's comparison formats each tensor for its log, which takes minutes.
    for results in Comparator.run(runners, data_loader=[OrderedDict(row) for row in inputs], streaming=True):
        wanted, found = (results[runner.name][0] for runner in runners)
        for name in names:
            yield name, _errors(wanted[name].astype(np.float64), found[name].astype(np.float64))


def _errors(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> _Errors:
    with np.errstate(invalid="ignore", divide="ignore"):
        error = float(np.abs(found - wanted).max(initial=0))
        # Two tensors of zeros are equal.
        relative = relative_l2(found, wanted) if error else 0.0
    return _Errors(
        error if math.isfinite(error) else math.inf,
        relative if math.isfinite(relative) else math.inf,
        float(np.abs(wanted).max(initial=0)),
    )


def _layers(
    model: onnx.ModelProto, types: Mapping[str, int], found: Mapping[str, Sequence[_Errors]]
) -> Iterator[LayerDrift]:
    """Yield the compared layers in the graph's order."""
    squared = {name: float(np.mean([one.relative_error**2 for one in rows])) for name, rows in found.items()}
    growth = {}
    for node in model.graph.node:
        before = max((squared.get(name, 0.0) for name in node.input), default=0.0)
        for name in node.output:
            if name in squared and math.isfinite(squared[name]):
                growth[name] = max(0.0, squared[name] - before)
    total = sum(growth.values()) or 1.0
    module = ""
    for node in model.graph.node:
        weight = next((name for name in node.input if name.endswith(".weight")), None)
        module = module if weight is None else weight.removesuffix(".weight").removeprefix("unet.")
        for name in node.output:
            if name in found:
                yield LayerDrift(
                    name=name,
                    kind=node.op_type,
                    dtype=COMPARED[types[name]],
                    module=module,
                    largest_error=max(one.largest_error for one in found[name]),
                    relative_error=math.sqrt(squared[name]),
                    largest_value=max(one.largest_value for one in found[name]),
                    by_row=tuple(one.relative_error for one in found[name]),
                    share=growth.get(name, 0.0) / total,
                )
