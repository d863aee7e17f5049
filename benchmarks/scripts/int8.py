"""What 8 bits bring: denoising's speed against float32's, and what they do to the pictures.

    pip install nncf                # not a dependency of the project
    python -m benchmarks.scripts.int8 RECORD.json --class neutrophil

The bundle's own 8-bit graphs, and the UNet quantised by NNCF in two of its ways, calibrated on the inputs of the same
class's trajectories (the decoder stays as it is there); the same seeds are drawn with each in interleaved rounds.
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

from benchmarks.rounds import REST_S
from engine.backends.base import Signature
from engine.backends.openvino import OpenVINOBackend, OpenVINOModel
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.files import write_json
from engine.machine import processor_name
from engine.pipeline.pipeline import Pipeline
from exporter.parity import psnr_db
from exporter.recording import recorder_of

CALIBRATION_SEEDS = range(10_000, 10_008)
TEST_SEEDS = range(32)


class Replaced:
    """The engine's OpenVINO, which opens another file in the UNet's place."""

    name, device = "openvino", None

    def __init__(self, inner: OpenVINOBackend, unet: Path) -> None:
        self._inner, self._unet = inner, unet

    def open(self, path: Path, inputs: Signature, outputs: tuple[str, ...]) -> OpenVINOModel:
        """The decoder as it is; the UNet replaced."""
        return self._inner.open(self._unet if "eps" in outputs else path, inputs, outputs)


def calibration_rows(bundle: Bundle, request: GenerateRequest) -> list[dict[str, np.ndarray]]:
    """Inputs of the UNet, one row at a time: more samples from the same calls."""
    recorder = recorder_of(OpenVINOBackend(precision="f32", threads=request.threads))
    with Pipeline(bundle, request.class_names[0], request, recorder) as pipeline:
        pipeline.generate_latents(CALIBRATION_SEEDS)
    return [
        {name: np.asarray(value)[i : i + 1] for name, value in inputs.items()}
        for inputs, _ in recorder.calls
        for i in range(0, len(inputs["latents"]), 3)
    ]


def main(folder: str) -> None:
    """Quantise, draw, time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--bundle", default="cells")
    parser.add_argument("--class", dest="class_name", default="neutrophil")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    bundle, name = open_bundle(asked.bundle), asked.class_name
    requests = {
        precision: make_request(
            bundle.manifest, class_names=[name], n=8, backend="openvino", batch_size=8, precision=precision
        )
        for precision in bundle.manifest.precisions
    }
    threads = requests["f32"].threads
    backends = {precision: OpenVINOBackend(precision=precision, threads=threads) for precision in requests}
    pipelines = {
        backend.version: Pipeline(bundle, name, requests[precision], backend) for precision, backend in backends.items()
    }
    exact, own = backends["f32"].version, backends["int8"].version
    rows = calibration_rows(bundle, requests["f32"])
    for words, options in {
        "NNCF, mixed": {"preset": nncf.QuantizationPreset.MIXED},
        "NNCF, transformer": {"preset": nncf.QuantizationPreset.MIXED, "model_type": nncf.ModelType.TRANSFORMER},
    }.items():
        model = ov.Core().read_model(bundle.path(bundle.manifest.graphs(name, "f32")[0]))
        quantised = nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows), **options)
        path = Path(folder) / f"{len(pipelines)}.xml"
        ov.save_model(quantised, path, compress_to_fp16=False)
        pipelines[words] = Pipeline(bundle, name, requests["f32"], Replaced(backends["f32"], path))
    pictures: dict[str, list[Any]] = {words: [] for words in pipelines}
    for start in range(0, len(TEST_SEEDS), 8):
        for words, pipeline in pipelines.items():
            images, _ = pipeline.decode(pipeline.generate_latents(TEST_SEEDS[start : start + 8]))
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
        "settings": requests["f32"].as_json(),
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(temporary)
