"""Measure what pictures that start from pictures cost, beside pictures that start from noise.

    python -m benchmarks.scripts.from_picture RECORD.json PICTURES --class neutrophil [--rounds 5]

PICTURES is a folder of initial pictures of the bundle's size. All settings take turns in every round. A time covers
encoding, denoising, decoding and composing of one batch. The record also has the largest memory of `engine upscale`
that enlarges a picture of half of SIDE pixels to SIDE, in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.backends.select import choose_backend, open_backend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.files import write_json
from engine.machine import machine_facts
from engine.pictures import pictures_in, read_picture
from engine.pipeline.pipeline import Pipeline
from engine.terminal import run_command_line
from engine.version import __version__

STRENGTHS = (0.0, 0.3, 0.5, 0.75)
TEXT = "from noise"


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = script_parser("benchmarks.scripts.from_picture", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("pictures", metavar="PICTURES", type=existing_folder)
    parser.add_argument("--class", dest="class_name", required=True, help="class to draw")
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--rounds", type=int, default=5, help="timing rounds (default: 5)")
    parser.add_argument("--side", type=int, default=2048, help="side of the enlarged picture (default: 2048)")
    return parser.parse_args()


def main() -> None:
    """Time every setting, measure the memory, and write the record."""
    asked = parse_arguments()
    bundle = open_bundle(asked.bundle)
    # First, because a child inherits the largest memory of the process that starts it.
    large = upscaled(asked)
    options: dict[str, dict[str, Any]] = {TEXT: {}}
    options |= {f"strength {strength:g}": {"init": asked.pictures, "strength": strength} for strength in STRENGTHS}
    jobs = {
        name: make_job(bundle, [asked.class_name], 1, settings_of(backend="openvino", **chosen))
        for name, chosen in options.items()
    }
    _, why = choose_backend("openvino", "auto", jobs[TEXT])
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    with ExitStack() as opened:
        pipelines = {
            name: opened.enter_context(Pipeline(job, asked.class_name, open_backend(job))) for name, job in jobs.items()
        }
        seeds = range(jobs[TEXT].request.batch_size)
        for turn in range(asked.rounds + 1):
            for name, pipeline in pipelines.items():
                began = time.perf_counter()
                draw(pipeline, seeds)
                # The first turn warms up.
                if turn:
                    seconds[name].append(round(time.perf_counter() - began, 4))
    medians = {name: float(np.median(found)) for name, found in seconds.items()}
    # The time of encoding, decoding and composing alone.
    fixed = medians["strength 0"]
    record = {
        "class": asked.class_name,
        "bundle_sha256": bundle.sha256,
        "batch_size": jobs[TEXT].request.batch_size,
        "backend": why,
        "evaluations": {name: len(job.plan.rows) for name, job in jobs.items()},
        "seconds": seconds,
        "share_of_from_noise": {name: round(found / medians[TEXT], 3) for name, found in medians.items()},
        "share_without_encoding_and_decoding": {
            name: round((found - fixed) / (medians[TEXT] - fixed), 3) for name, found in medians.items() if name != TEXT
        },
        "upscale": large,
        "versions": {"cytosynth": __version__},
        "machine": machine_facts(),
    }
    write_json(asked.record, record)
    print(f"{asked.record}: {record['share_of_from_noise']}, upscale {record['upscale']}")


def draw(pipeline: Pipeline, seeds: Sequence[int]) -> None:
    """Make one batch."""
    images, _ = pipeline.decode(pipeline.generate_latents(seeds), seeds)
    pipeline.finish(images, seeds)


def upscaled(asked: argparse.Namespace) -> dict[str, float]:
    """Return seconds and largest memory in MB of an upscaling in tiles."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.png"
        half = asked.side // 2
        picture = read_picture(pictures_in(asked.pictures)[0])
        picture.resize((half, half), Image.Resampling.LANCZOS).save(source)
        command = [sys.executable, "-m", "engine", "upscale", str(source), "--out", f"{folder}/out", "--scale", "2"]
        command += ["--class", asked.class_name, "--bundle", asked.bundle]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - began
    # On Linux in kilobytes.
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    return {"side": asked.side, "seconds": round(seconds, 1), "largest_memory_mb": round(largest, 0)}


if __name__ == "__main__":
    run_command_line(main)
