"""The record of `bench`: every part and batch size, each compared in rounds of its own, on one machine."""

from __future__ import annotations

import gc
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.operations import SIDE, count_operations, matrix_products
from benchmarks.peers.cyto_bench import add_cyto_bench
from benchmarks.peers.diffusers import DiffusersPeers
from benchmarks.peers.engine import add_engine
from benchmarks.peers.stable_diffusion_cpp import add_stable_diffusion_cpp
from benchmarks.peers.work import Work
from benchmarks.rounds import INT8_PICTURE_DB, REFERENCE, TOLERANCES, Opened, compare
from engine.bundle.folder import Bundle
from engine.bundle.request import EVERYWHERE, make_request
from engine.errors import RequestError
from engine.machine import processor_name
from engine.output.provenance import own_version
from exporter.load import load_merged

__all__ = ["bench_systems"]

PEER = "diffusers"
LIBRARIES = ("diffusers", "torch", "openvino", "onnxruntime", "numpy", "stable-diffusion-cpp-python")


def bench_systems(
    bundle: Bundle,
    merged_folder: Path,
    *,
    parts: Sequence[str],
    batch_sizes: Sequence[int],
    guidance_scale: float | None,
    steps: int | None,
    threads: int,
    rounds: int,
    cap_s: float,
    systems: Sequence[str],
    cyto_bench: Path,
) -> dict[str, Any]:
    """Compare the engine with its peers on one class; see benchmarks.rounds for the parts, and
    engine.bundle.request.make_request for what None and 0 stand for. Returns the record with its raw
    seconds. Raises CytosynthError."""
    commit = _commit()
    merged = load_merged(merged_folder)
    class_name = merged.record["class_name"]
    requests = [
        make_request(
            bundle.manifest,
            class_names=[class_name],
            n=1,
            backend="openvino",
            sampler="dpmpp_2m",
            schedule="karras",
            batch_size=size,
            guidance_scale=guidance_scale,
            guidance_interval=EVERYWHERE,
            num_inference_steps=steps,
            precision="f32",
            threads=threads,
        )
        for size in batch_sizes
    ]
    bundle.verify_for([class_name])
    asked = requests[0]
    if asked.guidance_scale == 1 and "step" in parts:
        raise RequestError("--part step", found="guidance 1", expected="guidance", fix="pass another --guidance-scale")
    torch.set_num_threads(asked.threads)
    counted = count_operations(merged.unet, merged.vae, bundle.manifest.context_shape[0])
    halves = 1 if asked.guidance_scale == 1 else 2
    operations = {
        "picture": halves * asked.num_inference_steps * counted["unet_row"] + counted["decode"],
        "step": 2 * counted["unet_row"],
        "decode": counted["decode"],
    }
    peers = DiffusersPeers(merged, asked.threads)
    compared = []
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            for request in requests:
                work = Work(bundle, merged, request, Path(folder))
                opened = Opened(systems)
                peers.add_to(opened, work, part)
                add_engine(opened, work, part)
                add_cyto_bench(opened, cyto_bench, work, part)
                add_stable_diffusion_cpp(opened, work, part)
                opened.expect_chosen()
                compared.append(_compare(opened, part, request.batch_size, operations[part], rounds, cap_s))
                del opened
                # A part's systems hold gigabytes, and graphs hold each other.
                gc.collect()
    return {
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "threads": asked.threads},
        "versions": {"cytosynth": own_version(), **_versions()},
        "commit": commit,
        "bundle": bundle.manifest.name,
        "bundle_sha256": bundle.sha256,
        "class": class_name,
        "unet_parameters": sum(weight.numel() for weight in merged.unet.parameters()),
        "steps": asked.num_inference_steps,
        "guidance_scale": asked.guidance_scale,
        "rounds": rounds,
        "cap_s": cap_s,
        "reference": REFERENCE,
        "tolerances": {**TOLERANCES, "picture in 8 bits": INT8_PICTURE_DB},
        "operations": {**counted, **operations},
        "compared": compared,
    }


def _compare(opened: Opened, part: str, batch_size: int, operations: int, rounds: int, cap_s: float) -> dict[str, Any]:
    products = matrix_products()
    beside_them = [product.system for product in products.values()]
    found = compare(opened, part, rounds=rounds, cap_s=cap_s, alongside=beside_them)
    beside = found.pop("alongside_seconds")
    medians = {name: float(np.median(seconds)) for name, seconds in found["seconds"].items()}
    best = min(seconds for name, seconds in medians.items() if name.startswith(PEER))
    return {
        "part": part,
        "batch_size": batch_size,
        **found,
        "per_second": {name: batch_size / seconds for name, seconds in medians.items()},
        "times_the_best_of_diffusers": {name: best / seconds for name, seconds in medians.items()},
        "operations_per_second": {name: batch_size * operations / seconds for name, seconds in medians.items()},
        "matrix_products": {
            kind: {
                "side": SIDE,
                "operations": product.operations,
                "seconds": beside[product.system.name],
            }
            for kind, product in products.items()
        },
    }


def _versions() -> dict[str, str]:
    """Of what is installed of LIBRARIES."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _commit() -> str:
    """The checkout's, "-dirty" where it has changes, or "unknown" where there is none."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
