"""An ONNX graph in numbers: inputs, outputs, layers by kind with their types, and weights by file and type."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx
from polygraphy.backend.onnx import infer_shapes, onnx_from_path
from polygraphy.backend.onnx.util import get_input_metadata, get_output_metadata
from polygraphy.common import TensorMetadata
from polygraphy.datatype import DataType

from engine.errors import RequestError, first_line

__all__ = ["GraphFacts", "LayerKind", "TensorFacts", "WeightFacts", "graph_facts", "tensor_types"]

IN_GRAPH = "in the graph"
"""The place of weights that are not in a file of their own."""


@dataclass(frozen=True)
class TensorFacts:
    """An input or output. `shape` has a number per fixed axis, and a name or expression per free axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class LayerKind:
    """All layers of one kind. `dtypes` are the types of their outputs."""

    kind: str
    count: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class WeightFacts:
    """The weights of one type in one file. A tensor that several layers use counts once."""

    file: str
    dtype: str
    tensors: int
    size_bytes: int


@dataclass(frozen=True)
class GraphFacts:
    """An ONNX graph. `size_bytes` is the size of the graph's own file, without external weights."""

    file: str
    size_bytes: int
    opset: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    layers: tuple[LayerKind, ...]
    """The kinds, the most frequent first."""
    weights: tuple[WeightFacts, ...]

    @property
    def layer_count(self) -> int:
        """Number of layers."""
        return sum(kind.count for kind in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(one.size_bytes for one in self.weights)


def graph_facts(path: Path) -> GraphFacts:
    """Return the facts of an ONNX file. Weights stay on the disk. Raises RequestError for a file that is no graph."""
    try:
        model = onnx_from_path(str(path), ignore_external_data=True)
        if not model.graph.node:
            raise ValueError("no layers")
    except OSError:
        raise
    except Exception as error:  # protobuf's exceptions depend on its implementation
        raise RequestError(
            f"The graph {path}",
            found=first_line(error),
            expected="an ONNX graph",
            fix="check the path, or export again",
        ) from error
    return GraphFacts(
        file=path.name,
        size_bytes=path.stat().st_size,
        opset=next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0),
        inputs=_tensors(get_input_metadata(model.graph)),
        outputs=_tensors(get_output_metadata(model.graph)),
        layers=_layers(model),
        weights=_weights(model),
    )


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type (onnx.TensorProto.DataType) of every tensor of a graph, by the tensor's name."""
    graph = infer_shapes(model, allow_onnxruntime=False).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for name in node.output:
            # ONNX infers no type for GroupNormalization, whose output has the type of its input.
            if name not in types and node.input and node.input[0] in types:
                types[name] = types[node.input[0]]
    return types


def _tensors(metadata: TensorMetadata) -> tuple[TensorFacts, ...]:
    return tuple(TensorFacts(name, one.dtype.name, tuple(one.shape)) for name, one in metadata.items())


def _layers(model: onnx.ModelProto) -> tuple[LayerKind, ...]:
    types = tensor_types(model)
    counts: dict[str, int] = defaultdict(int)
    dtypes: dict[str, set[str]] = defaultdict(set)
    for node in model.graph.node:
        counts[node.op_type] += 1
        dtypes[node.op_type].update(_dtype(types[name]) for name in node.output if name in types)
    kinds = sorted(counts, key=lambda kind: (-counts[kind], kind))
    return tuple(LayerKind(kind, counts[kind], tuple(sorted(dtypes[kind]))) for kind in kinds)


def _weights(model: onnx.ModelProto) -> tuple[WeightFacts, ...]:
    """Return the weights by file and type. Tensors at the same place of a file are one."""
    places: dict[tuple[str, str], dict[object, int]] = defaultdict(dict)
    for tensor in model.graph.initializer:
        external = {entry.key: entry.value for entry in tensor.external_data}
        place = (external["location"], external.get("offset", "0")) if external else tensor.name
        size = int(external["length"]) if "length" in external else _size_bytes(tensor)
        places[external.get("location", IN_GRAPH), _dtype(tensor.data_type)][place] = size
    return tuple(
        WeightFacts(file, dtype, len(sizes), sum(sizes.values())) for (file, dtype), sizes in sorted(places.items())
    )


def _size_bytes(tensor: onnx.TensorProto) -> int:
    count = 1
    for side in tensor.dims:
        count *= side
    return count * DataType.from_dtype(tensor.data_type, "onnx").itemsize


def _dtype(kind: int) -> str:
    return str(DataType.from_dtype(kind, "onnx").name)
