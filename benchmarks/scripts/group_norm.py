"""Measure what group normalisation with channels last gains on OpenVINO.

    python -m benchmarks.scripts.group_norm RECORD.json [--bundle cells] [--class neutrophil] [--batch-size 1,8]

The script opens the graphs of the UNet and of the decoder, in float32 and in 8 bits, in two ways: as the engine opens
them, and without the replacement of group normalisation. The graphs run in interleaved rounds on the same noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import new_file, numbers, script_parser
from benchmarks.rounds import timed
from engine.backends import openvino
from engine.backends.group_norm import keep_channels_last
from engine.bundle.folder import Bundle, open_bundle
from engine.files import write_json
from engine.machine import installed_cores, machine_facts
from engine.terminal import run_command_line
from engine.version import __version__
from exporter.parity import relative_l2

WAYS: dict[str, Callable[..., int]] = {"as exported": lambda model: 0, "channels last": keep_channels_last}
ROUNDS = 50
PRECISIONS = ("f32", "int8")


def inputs_of(bundle: Bundle, rows: int, *, decodes: bool) -> dict[str, NDArray[np.float32]]:
    """Return standard normal inputs for a graph."""
    manifest = bundle.manifest
    shapes = manifest.decoder_inputs(rows, manifest.latent_shape)
    if not decodes:
        shapes = {
            "latents": shapes["latents"],
            "time_features": (rows, 2 * len(manifest.frequencies)),
            "encoder_hidden_states": (rows, *manifest.context_shape),
        }
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def opened(path: Path, inputs: dict[str, Any], output: str, precision: str, way: str) -> Callable[[], NDArray[Any]]:
    """Open a graph as the engine does, in one of the two ways, and return a function that runs it."""
    backend = openvino.OpenVINOBackend(precision=precision, threads=installed_cores(), cached=False)
    outputs = (output,) if output == "eps" else (output, "finite")
    with mock.patch.object(openvino, "keep_channels_last", WAYS[way]):
        model = backend.open(path, {name: value.shape for name, value in inputs.items()}, outputs)
    return lambda: model.run(inputs)[output]


def measure(path: Path, inputs: dict[str, Any], output: str, precision: str) -> dict[str, Any]:
    """Return the figures of one graph in both ways."""
    runs = {way: timed(opened(path, inputs, output, precision, way)) for way in WAYS}
    results = {way: np.asarray(run()[1], np.float64) for way, run in runs.items()}
    seconds: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(ROUNDS):
        for way, run in runs.items():
            seconds[way].append(round(run()[0], 5))
    wanted = results["as exported"]
    return {
        "graph": path.name,
        "rows": len(inputs["latents"]),
        "seconds": seconds,
        "ms": {way: round(1e3 * float(np.median(values)), 2) for way, values in seconds.items()},
        "relative_l2": {way: relative_l2(result, wanted) for way, result in results.items()},
    }


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.group_norm", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--class", dest="class_name", default="neutrophil", help="class (default: neutrophil)")
    parser.add_argument("--batch-size", type=numbers, default=[1, 8], help="batch sizes (default: 1,8)")
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    found = []
    for precision in (name for name in PRECISIONS if name in bundle.manifest.precisions):
        unet, decoder = bundle.manifest.graphs(asked.class_name, precision)
        for batch_size in asked.batch_size:
            for name, rows, output in ((unet, 2 * batch_size, "eps"), (decoder, batch_size, "images")):
                inputs = inputs_of(bundle, rows, decodes=output == "images")
                row = measure(bundle.path(name), inputs, output, precision)
                found.append(row)
                print(name, rows, json.dumps(row["ms"]), flush=True)
    machine = machine_facts()
    write_json(
        asked.record,
        {"machine": machine, "version": __version__, "bundle_sha256": bundle.sha256, "measured": found},
    )


if __name__ == "__main__":
    run_command_line(main)
