"""Compare the time that decoders of several bundles take on OpenVINO.

    python -m benchmarks.scripts.decoding RECORD.json BUNDLE... [--batch-size 1,8] [--rounds 50]

The script opens each decoder as the engine does, in float32 and in 8 bits. The decoders run in interleaved rounds on
the same latents. Times are of the processor, because other programs disturb these less. Ratios are against the first
bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.arguments import new_file, numbers, script_parser
from benchmarks.scripts.rewrites import PRECISIONS, inputs_of, opened, take_turns
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import Bundle, open_bundle
from engine.files import write_json
from engine.machine import machine_facts
from engine.terminal import run_command_line
from engine.version import __version__


def decoder_of(bundle: Bundle, precision: str, rows: int) -> Callable[[], object]:
    """Open a decoder and return a function that decodes `rows` pictures. Raises RequestError without 8-bit graphs."""
    _, decoder = bundle.manifest.graphs(next(iter(bundle.manifest.classes)), precision)
    return opened(bundle.path(decoder), inputs_of(bundle, rows, decodes=True), "images", precision, "engine")


def measure(bundles: dict[str, Bundle], precision: str, rows: int, rounds: int) -> dict[str, Any]:
    """Return the figures of all decoders with one precision and batch size. Ratios are medians over the rounds."""
    runs = {name: decoder_of(bundle, precision, rows) for name, bundle in bundles.items()}
    take_turns(runs, 1)
    seconds = take_turns(runs, rounds)
    first = next(iter(seconds.values()))
    return {
        "precision": precision,
        "rows": rows,
        "seconds": seconds,
        "ms_per_picture": {name: round(1e3 * float(np.median(values)) / rows, 2) for name, values in seconds.items()},
        "ratio": {name: round(float(np.median(np.divide(values, first))), 3) for name, values in seconds.items()},
    }


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.decoding", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("bundles", metavar="BUNDLE", nargs="+", help="names or folders of bundles")
    parser.add_argument("--batch-size", type=numbers, default=[1, 8], help="batch sizes (default: 1,8)")
    parser.add_argument("--rounds", type=int, default=50, help="rounds (default: 50)")
    asked = parser.parse_args()
    bundles = {bundle.sha256[:12]: bundle for bundle in map(open_bundle, asked.bundles)}
    record = {
        "graphs": [
            measure(bundles, precision, rows, asked.rounds) for precision in PRECISIONS for rows in asked.batch_size
        ],
        "machine": machine_facts(),
        "version": __version__,
        "openvino": OpenVINOBackend(precision="f32", threads=1, cached=False).version,
        "rounds": asked.rounds,
    }
    write_json(asked.record, record)


if __name__ == "__main__":
    run_command_line(main)
