"""What group normalisation with channels last brings on OpenVINO.

    python -m benchmarks.scripts.group_norm RECORD.json [--bundle cells] [--class neutrophil] [--batch-size 1,8]

The graphs of a class's UNet and of the decoder, float32 and 8 bits, are opened as the engine opens them, and without
the replacement, and run in interleaved rounds on the same noise.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rounds import timed
from engine.backends import openvino
from engine.backends.group_norm import keep_channels_last
from engine.bundle.folder import Bundle, open_bundle
from engine.files import write_json
from engine.machine import processor_name
from engine.output.provenance import own_version
from exporter.parity import relative_l2

WAYS = {"as exported": lambda model: 0, "channels last": keep_channels_last}
ROUNDS = 50


def inputs_of(bundle: Bundle, rows: int, *, decodes: bool) -> dict[str, NDArray[np.float32]]:
    """Standard normal inputs of a graph."""
    manifest = bundle.manifest
    shapes = {"latents": manifest.latent_shape}
    if not decodes:
        shapes |= {"time_features": (2 * len(manifest.frequencies),), "encoder_hidden_states": manifest.context_shape}
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((rows, *shape), dtype=np.float32) for name, shape in shapes.items()}


def opened(path: Path, inputs: dict[str, Any], output: str, precision: str, way: str) -> Callable[[], NDArray[Any]]:
    """A graph as the engine opens it, in one of the two ways."""
    openvino.keep_channels_last = WAYS[way]
    backend = openvino.OpenVINOBackend(precision=precision, threads=os.cpu_count() or 1, cached=False)
    outputs = (output,) if output == "eps" else (output, "finite")
    model = backend.open(path, {name: value.shape for name, value in inputs.items()}, outputs)
    return lambda: model.run(inputs)[output]


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--bundle", default="cells")
    parser.add_argument("--class", dest="class_name", default="neutrophil")
    parser.add_argument("--batch-size", type=lambda text: [int(word) for word in text.split(",")], default=[1, 8])
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    found = []
    for precision in ("f32", "int8"):
        unet, decoder = bundle.manifest.graphs(asked.class_name, precision)
        for batch_size in asked.batch_size:
            for name, rows, output in ((unet, 2 * batch_size, "eps"), (decoder, batch_size, "images")):
                inputs = inputs_of(bundle, rows, decodes=output == "images")
                runs = {way: timed(opened(bundle.path(name), inputs, output, precision, way)) for way in WAYS}
                results = {way: run()[1].astype(np.float64) for way, run in runs.items()}
                seconds: dict[str, list[float]] = {way: [] for way in runs}
                for _ in range(ROUNDS):
                    for way, run in runs.items():
                        seconds[way].append(round(run()[0], 5))
                wanted = results["as exported"]
                row = {
                    "graph": name,
                    "rows": rows,
                    "seconds": seconds,
                    "ms": {way: round(1e3 * float(np.median(values)), 2) for way, values in seconds.items()},
                    "relative_l2": {way: relative_l2(result, wanted) for way, result in results.items()},
                }
                found.append(row)
                print(name, rows, json.dumps(row["ms"]), flush=True)
    machine = {"processor": processor_name(), "cores": os.cpu_count()}
    write_json(
        asked.record,
        {"machine": machine, "version": own_version(), "bundle_sha256": bundle.sha256, "measured": found},
    )


if __name__ == "__main__":
    main()
