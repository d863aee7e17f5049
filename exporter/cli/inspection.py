"""The commands that look into files: inspect, drift."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.bundle.folder import open_bundle
from engine.bundle.request import make_request
from engine.bundle.settings import settings_of
from engine.errors import RequestError
from engine.files import expect_folder_of
from engine.options import with_options
from exporter.cli.options import BundleArgument, JsonOption, say
from exporter.settings import DriftSettings

if TYPE_CHECKING:
    from exporter.inspection.bundle_facts import BundleFacts
    from exporter.inspection.drift import Drift
    from exporter.inspection.graph_facts import GraphFacts, LayerKind, TensorFacts
    from exporter.inspection.plan_facts import PlanFacts

__all__ = ["drift", "inspect"]

Facts = TypeVar("Facts", "BundleFacts", "Drift", "GraphFacts", "PlanFacts")
WORST = 10
"""Layers that `drift` shows."""


def inspect(
    what: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE|GRAPH|PLAN",
            help="Name of an embedded bundle, a bundle's folder, a .onnx file, or a .plan file.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Show what a bundle, a graph or a plan contains: layers, types, shapes, sizes, shared weights.

    Weights stay on the disk, and no GPU is needed.
    """
    from exporter.inspection.bundle_facts import bundle_facts
    from exporter.inspection.graph_facts import graph_facts
    from exporter.inspection.plan_facts import plan_facts

    path = Path(what)
    if path.suffix == ".onnx":
        _show(graph_facts(path), _show_graph, as_json)
    elif path.suffix == ".plan":
        _show(plan_facts(path), _show_plan, as_json)
    else:
        _show(bundle_facts(open_bundle(what)), _show_bundle, as_json)


@with_options
def drift(bundle: BundleArgument, settings: DriftSettings, as_json: JsonOption = False) -> None:
    """Show in which layers a graph loses precision, compared with float32 on the inputs of a picture.

    The float16 graph rounds each layer as a GPU does. Needs no GPU.
    """
    from exporter.inspection.drift import drift_of

    if settings.plot is not None:
        expect_folder_of(settings.plot)
        if find_spec("matplotlib") is None:
            raise RequestError(
                "--plot",
                found="no matplotlib",
                expected="matplotlib",
                fix="pip install matplotlib, or leave out --plot",
            )
    opened = open_bundle(bundle)
    class_name = settings.class_name or next(iter(opened.manifest.classes))
    make_request(opened.manifest, [class_name], 1, settings_of())
    found = drift_of(opened, class_name, settings.graph, int8=settings.against == "int8", progress=say)
    if settings.plot is not None:
        from exporter.inspection.drift_plot import plot_drift

        plot_drift(found, settings.plot)
    _show(found, _show_drift, as_json)


def _show(facts: Facts, as_tables: Callable[[Facts], None], as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(facts)))
    else:
        as_tables(facts)


def _show_graph(facts: GraphFacts) -> None:
    print(f"{facts.file}: opset {facts.opset}, {facts.layer_count} layers, {_mb(facts.size_bytes)} without weights")
    _show_tensors(facts.inputs, facts.outputs)
    _show_layers(facts.layers)
    table = _table("weights in", "type", "tensors", "size")
    for one in facts.weights:
        _add(table, one.file, one.dtype, one.tensors, _mb(one.size_bytes))
    Console().print(table)


def _show_plan(facts: PlanFacts) -> None:
    print(
        f"{facts.file} in {facts.folder}: {facts.flavour} {facts.version} for compute capability "
        f"{facts.compute_capability}, {_mb(facts.size_bytes)}, built in {facts.build_seconds:.1f} s"
    )
    _show_tensors(facts.inputs, facts.outputs)
    table = _table("input", "smallest", "usual", "largest")
    for name, shapes in facts.profile.items():
        _add(table, name, *map(_shape, shapes))
    Console().print(table)
    _show_layers(facts.layers)
    if facts.gpu_layers is None:
        print("The layers are those of the parsed network: the plan was built without a GPU, which alone can open it.")
    else:
        print(f"After TensorRT's fusions: {facts.gpu_layers} layers")


def _show_bundle(facts: BundleFacts) -> None:
    print(f"{facts.name}: {_mb(facts.size_bytes)}, SHA-256 {facts.sha256}")
    graphs = _table("graph", "size", "layers", "weights", "mostly")
    for graph in facts.graphs:
        dtypes = dict.fromkeys(one.dtype for one in graph.weights if one.size_bytes > graph.weight_bytes / 100)
        sizes = _mb(graph.size_bytes), graph.layer_count, _mb(graph.weight_bytes)
        _add(graphs, graph.file, *sizes, ", ".join(dtypes))
    Console().print(graphs)
    classes = _table("class", "UNet", "own files", "shared files", "weights of low rank")
    for one in facts.classes:
        _add(classes, one.name, one.unet, _mb(one.own_bytes), _mb(one.shared_bytes), one.low_rank)
    Console().print(classes)
    print(
        f"What several classes share is stored once ({_mb(facts.shared_bytes)}). With a copy per class the bundle "
        f"would have {_mb(facts.without_sharing_bytes)}."
    )
    if not facts.plans:
        print("No TensorRT plans: `python -m exporter tensorrt` builds them.")
        return
    plans = _table("plans in", "flavour", "GPU", "batch sizes", "pixels", "plans", "size")
    for found in facts.plans:
        batches, size = ", ".join(map(str, found.batch_sizes)), "{} x {}".format(*found.picture_size)
        flavour = f"{found.flavour} {found.version}"
        _add(plans, found.folder, flavour, found.compute_capability, batches, size, found.plans, _mb(found.size_bytes))
    Console().print(plans)


def _show_drift(found: Drift) -> None:
    print(f"{found.graph} in {found.compared_with}, compared with float32 on {found.rows} rows of inputs")
    for one in found.outputs:
        unit = " grey levels" if one.dtype == "uint8" else ""
        print(
            f"Output {one.name}: relative error {one.relative_error:.2g}, largest error {one.largest_error:.2g}{unit}"
        )
    if found.largest is not None:
        value, limit = found.largest.largest_value, found.largest_half
        print(f"Largest float16 value: {value:.3g} in {found.largest.name}, {value / limit:.2%} of the range")
    print(f"The worst {WORST} of {len(found.layers)} layers, by their share of the growth of the error:")
    table = _table("layer", "kind", "largest\nerror", "relative\nerror", "share", "at or after")
    table.box = None
    for one in found.worst[:WORST]:
        numbers = f"{one.largest_error:.2g}", f"{one.relative_error:.2g}", f"{one.share:.1%}"
        _add(table, one.name, one.kind, *numbers, one.module)
    Console().print(table)


def _show_tensors(inputs: Iterable[TensorFacts], outputs: Iterable[TensorFacts]) -> None:
    table = _table("", "name", "type", "shape")
    for word, tensors in (("input", inputs), ("output", outputs)):
        for one in tensors:
            _add(table, word, one.name, one.dtype, _shape(one.shape))
    Console().print(table)


def _show_layers(layers: Iterable[LayerKind]) -> None:
    table = _table("layers", "number", "types of their outputs")
    for one in layers:
        _add(table, one.kind, one.count, ", ".join(one.dtypes))
    Console().print(table)


def _table(*headers: str) -> Table:
    """Return a table in which only the last column wraps, so that names stay whole in a narrow terminal."""
    table = Table()
    for header in headers:
        table.add_column(header, no_wrap=header != headers[-1], overflow="fold")
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(escape(str(cell)) for cell in cells))


def _shape(shape: Iterable[int | str]) -> str:
    return " x ".join(map(str, shape))


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f} MB"
