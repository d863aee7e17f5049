"""What an INT8 UNet would bring: its speed against bf16's and float32's, and what it does to the pictures.

    pip install nncf                # not a dependency of the project
    python docs/benchmarks/int8.py RECORD.json --class cyt_mast

The UNet is quantised after training by NNCF (8 bits, weights and activations), calibrated on the inputs of its own
trajectories; then the same seeds are drawn with each UNet in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov

from engine.backends.openvino import OpenVINOBackend, OpenVINOModel
from engine.bench import processor_name
from engine.bundle import open_bundle
from engine.pipeline import Pipeline
from engine.request import make_request

CALIBRATION_SEEDS = range(10_000, 10_008)
TEST_SEEDS = range(32)


class Recorder:
    """A UNet that keeps its inputs."""

    def __init__(self, inner: Any, seen: list[dict[str, Any]]) -> None:
        self._inner, self._seen = inner, seen

    def run(self, inputs: dict[str, Any]) -> Any:
        """Run and keep."""
        self._seen.append({name: np.array(value) for name, value in inputs.items()})
        return self._inner.run(inputs)

    def close(self) -> None:
        """Close what is inside."""
        self._inner.close()


class Replaced:
    """OpenVINO with another graph in the UNet's place, compiled as the engine compiles it."""

    name, device = "openvino", None

    def __init__(self, inner: OpenVINOBackend, unet: ov.Model, parts: int) -> None:
        self._inner, self._unet, self._parts = inner, unet, parts

    def open(self, path: Path, inputs: Any, outputs: Any) -> Any:
        """The decoder as it is; the UNet replaced."""
        if "eps" not in outputs:
            return self._inner.open(path, inputs, outputs)
        self._unet.reshape({name: [shape[0] // self._parts, *shape[1:]] for name, shape in inputs.items()})
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": self._parts, "NUM_STREAMS": self._parts}
        return OpenVINOModel(ov.Core().compile_model(self._unet, "CPU", config), outputs, self._parts)


class Recording:
    """OpenVINO whose UNet keeps its inputs."""

    name, device = "openvino", None

    def __init__(self, inner: OpenVINOBackend, seen: list[dict[str, Any]]) -> None:
        self._inner, self._seen = inner, seen

    def open(self, path: Path, inputs: Any, outputs: Any) -> Any:
        """See Backend."""
        model = self._inner.open(path, inputs, outputs)
        return Recorder(model, self._seen) if "eps" in outputs else model


def psnr_db(found: np.ndarray, wanted: np.ndarray) -> float:
    """Peak signal to noise, all pictures together."""
    return float(10 * np.log10(255**2 / np.mean((found.astype(float) - wanted.astype(float)) ** 2)))


def main() -> None:
    """Quantise, draw, time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--class", dest="class_name", default="cyt_mast")
    parser.add_argument("--guidance-scale", type=float, default=7.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    bundle = open_bundle("cells")

    def request(precision: str) -> Any:
        return make_request(
            bundle.manifest,
            class_names=[asked.class_name],
            n=8,
            backend="openvino",
            batch_size=8,
            guidance_scale=asked.guidance_scale,
            precision=precision,
            threads=asked.threads,
        )

    seen: list[dict[str, Any]] = []
    exact = OpenVINOBackend(precision="f32", threads=asked.threads)
    with Pipeline(bundle, asked.class_name, request("f32"), Recording(exact, seen)) as pipeline:
        pipeline.generate_latents(CALIBRATION_SEEDS, threading.Event())
    # One row at a time: more samples from the same calls.
    rows = [{name: value[i : i + 1] for name, value in inputs.items()} for inputs in seen for i in range(0, 16, 3)]
    path = bundle.path(bundle.manifest.classes[asked.class_name].unet)
    variants = {}
    for name, options in {
        "int8": {},
        "int8 mixed": {"preset": nncf.QuantizationPreset.MIXED},
        "int8 transformer": {"preset": nncf.QuantizationPreset.MIXED, "model_type": nncf.ModelType.TRANSFORMER},
    }.items():
        model = ov.Core().read_model(path)
        variants[name] = nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows), **options)
    pipelines = {
        "f32": Pipeline(bundle, asked.class_name, request("f32"), exact),
        "bf16": Pipeline(
            bundle, asked.class_name, request("auto"), OpenVINOBackend(precision="auto", threads=asked.threads)
        ),
    }
    for name, model in variants.items():
        backend = Replaced(OpenVINOBackend(precision="auto", threads=asked.threads), model, asked.threads)
        pipelines[name] = Pipeline(bundle, asked.class_name, request("auto"), backend)
    pictures: dict[str, list[Any]] = {name: [] for name in pipelines}
    for start in range(0, len(TEST_SEEDS), 8):
        for name, pipeline in pipelines.items():
            images, _ = pipeline.decode(pipeline.generate_latents(TEST_SEEDS[start : start + 8]))
            pictures[name].append(images)
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(asked.rounds):
        for name, pipeline in pipelines.items():
            began = time.perf_counter()
            pipeline.generate_latents(range(8))
            seconds[name].append(round(time.perf_counter() - began, 4))
    wanted = np.concatenate(pictures["f32"])
    record = {
        "machine": processor_name(),
        "class": asked.class_name,
        "guidance_scale": asked.guidance_scale,
        "batch_size": 8,
        "calibration_rows": len(rows),
        "denoise_seconds": seconds,
        "times_bf16": {n: float(np.median(seconds["bf16"]) / np.median(values)) for n, values in seconds.items()},
        "psnr_db_against_f32": {n: psnr_db(np.concatenate(p), wanted) for n, p in pictures.items() if n != "f32"},
        "bundle_sha256": bundle.sha256,
        "versions": {name: version(name) for name in ("nncf", "openvino", "numpy")},
    }
    asked.record.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
