"""Measure what 8-bit graphs gain in speed over float32, and how they change the pictures.

    pip install nncf                # not a dependency of the project
    python -m benchmarks.scripts.int8 RECORD.json --class neutrophil

The script compares the bundle's own 8-bit graphs with two ways of NNCF to quantise the UNet. NNCF is calibrated on the
UNet's inputs for the same class and keeps the float32 decoder. All systems draw the same seeds in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov

from benchmarks.arguments import new_file, script_parser
from benchmarks.rounds import REST_S
from engine.backends.base import Signature
from engine.backends.openvino import OpenVINOBackend, OpenVINOModel
from engine.bundle.folder import open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import settings_of
from engine.files import write_json
from engine.machine import processor_name
from engine.pipeline.pipeline import Pipeline
from engine.terminal import run_command_line
from exporter.parity import psnr_db
from exporter.recording import recorder_of

CALIBRATION_SEEDS = range(10_000, 10_008)
TEST_SEEDS = range(32)


class Replaced(OpenVINOBackend):
    """The engine's OpenVINO backend in float32, with another file in place of the UNet."""

    def __init__(self, unet: Path, threads: int) -> None:
        super().__init__(precision="f32", threads=threads)
        self.arithmetic = "int8"
        self._unet = unet

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> OpenVINOModel:
        """Open the replacement if a UNet is asked for, and the file itself otherwise."""
        return super().open(self._unet if "eps" in outputs else path, inputs, outputs)


def calibration_rows(job: Job) -> list[dict[str, np.ndarray]]:
    """Return inputs of the UNet for calibration, one row each: every third row of every call."""
    recorder = recorder_of(OpenVINOBackend(precision="f32", threads=job.request.threads))
    with Pipeline(job, job.request.class_names[0], recorder) as pipeline:
        pipeline.generate_latents(CALIBRATION_SEEDS)
    return [
        {name: np.asarray(value)[i : i + 1] for name, value in inputs.items()}
        for inputs, _ in recorder.calls
        for i in range(0, len(inputs["latents"]), 3)
    ]


def measure(asked: argparse.Namespace, folder: Path) -> None:
    """Quantise, draw and time; write the record. NNCF's graphs go to `folder`."""
    bundle, name = open_bundle(asked.bundle), asked.class_name
    jobs = {
        precision: make_job(bundle, [name], 8, settings_of(backend="openvino", batch_size=8, precision=precision))
        for precision in bundle.manifest.precisions
    }
    threads = jobs["f32"].request.threads
    backends = {precision: OpenVINOBackend(precision=precision, threads=threads) for precision in jobs}
    pipelines = {backend.version: Pipeline(jobs[precision], name, backend) for precision, backend in backends.items()}
    exact, own = backends["f32"].version, backends["int8"].version
    rows = calibration_rows(jobs["f32"])
    for words, options in {
        "NNCF, mixed": {"preset": nncf.QuantizationPreset.MIXED},
        "NNCF, transformer": {"preset": nncf.QuantizationPreset.MIXED, "model_type": nncf.ModelType.TRANSFORMER},
    }.items():
        model = ov.Core().read_model(bundle.path(bundle.manifest.graphs(name, "f32")[0]))
        quantised = nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows), **options)
        path = folder / f"{len(pipelines)}.xml"
        ov.save_model(quantised, path, compress_to_fp16=False)
        pipelines[words] = Pipeline(jobs["f32"], name, Replaced(path, threads))
    pictures: dict[str, list[Any]] = {words: [] for words in pipelines}
    for start in range(0, len(TEST_SEEDS), 8):
        seeds = TEST_SEEDS[start : start + 8]
        for words, pipeline in pipelines.items():
            images, _ = pipeline.decode(pipeline.generate_latents(seeds), seeds)
            pictures[words].append(images)
    seconds: dict[str, list[float]] = {words: [] for words in pipelines}
    for _ in range(asked.rounds):
        for words, pipeline in pipelines.items():
            time.sleep(REST_S)
            began = time.perf_counter()
            pipeline.generate_latents(range(8))
            seconds[words].append(round(time.perf_counter() - began, 4))
    drawn = {words: np.concatenate(parts).astype(float) for words, parts in pictures.items()}
    record = {
        "machine": processor_name(),
        "class": name,
        "settings": jobs["f32"].request.as_json(),
        "calibration_rows": len(rows),
        "own": own,
        "denoise_seconds": seconds,
        "times_f32": {n: float(np.median(seconds[exact]) / np.median(values)) for n, values in seconds.items()},
        "psnr_db_against_f32": {n: psnr_db(p - drawn[exact]) for n, p in drawn.items() if n != exact},
        "bundle_sha256": bundle.sha256,
        "versions": {package: version(package) for package in ("nncf", "openvino", "numpy")},
    }
    write_json(asked.record, record)
    print(json.dumps(record, indent=1))


def main() -> None:
    """Parse the command line and measure."""
    parser = script_parser("benchmarks.scripts.int8", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--class", dest="class_name", default="neutrophil", help="class (default: neutrophil)")
    parser.add_argument("--rounds", type=int, default=5, help="timing rounds (default: 5)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(asked, Path(folder))


if __name__ == "__main__":
    run_command_line(main)
