"""Measure what the engine's changes of graphs gain on OpenVINO.

    python -m benchmarks.scripts.rewrites RECORD.json [--bundle cells] [--class neutrophil] [--batch-size 1,8]
                                       [--rounds 50]

The script opens the graphs of the UNet and of the decoder, in float32 and in 8 bits, in three ways: as exported, with
group normalisation alone replaced, and as the engine opens them. The graphs run in interleaved rounds on the same
noise. Times are of the processor, because other programs disturb these less.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import new_file, numbers, script_parser
from engine.backends import openvino
from engine.backends.group_norm import keep_channels_last
from engine.backends.rewrites import rewrite
from engine.bundle.folder import Bundle, open_bundle
from engine.files import write_json
from engine.machine import installed_cores, machine_facts
from engine.terminal import run_command_line
from engine.version import __version__
from exporter.parity import relative_l2

AS_EXPORTED = "as exported"
WAYS: dict[str, Callable[..., object]] = {
    AS_EXPORTED: lambda model, rows: None,
    "channels last": keep_channels_last,
    "engine": rewrite,
}
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
    """Open a graph as the engine does, in one of WAYS, and return a function that runs it."""
    backend = openvino.OpenVINOBackend(precision=precision, threads=installed_cores(), cached=False)
    outputs = (output,) if output == "eps" else (output, "finite")
    with mock.patch.object(openvino, "rewrite", WAYS[way]):
        model = backend.open(path, {name: value.shape for name, value in inputs.items()}, outputs)
    return lambda: model.run(inputs)[output]


def take_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run everything once in each round, and return the processor time of each run in seconds, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.process_time()
            run()
            seconds[name].append(round(time.process_time() - began, 5))
    return seconds


def measure(path: Path, inputs: dict[str, Any], output: str, precision: str, rounds: int) -> dict[str, Any]:
    """Return the figures of one graph in all ways. Ratios are medians over the rounds."""
    runs = {way: opened(path, inputs, output, precision, way) for way in WAYS}
    results = {way: np.asarray(run(), np.float64) for way, run in runs.items()}
    seconds = take_turns(runs, rounds)
    wanted = results[AS_EXPORTED]
    ratios = {way: np.divide(values, seconds[AS_EXPORTED]) for way, values in seconds.items()}
    return {
        "graph": path.name,
        "rows": len(inputs["latents"]),
        "seconds": seconds,
        "least_ms": {way: round(1e3 * min(values), 2) for way, values in seconds.items()},
        "ratio": {way: round(float(np.median(values)), 3) for way, values in ratios.items()},
        "relative_l2": {way: relative_l2(result, wanted) for way, result in results.items()},
    }


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.rewrites", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--class", dest="class_name", default="neutrophil", help="class (default: neutrophil)")
    parser.add_argument("--batch-size", type=numbers, default=[1, 8], help="batch sizes (default: 1,8)")
    parser.add_argument("--rounds", type=int, default=50, help="rounds (default: 50)")
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    found = []
    for precision in (name for name in PRECISIONS if name in bundle.manifest.precisions):
        unet, decoder = bundle.manifest.graphs(asked.class_name, precision)
        for batch_size in asked.batch_size:
            for name, rows, output in ((unet, 2 * batch_size, "eps"), (decoder, batch_size, "images")):
                inputs = inputs_of(bundle, rows, decodes=output == "images")
                row = measure(bundle.path(name), inputs, output, precision, asked.rounds)
                found.append(row)
                print(name, rows, json.dumps([row["least_ms"], row["ratio"]]), flush=True)
    machine = machine_facts()
    write_json(
        asked.record,
        {"machine": machine, "version": __version__, "bundle_sha256": bundle.sha256, "measured": found},
    )


if __name__ == "__main__":
    run_command_line(main)
