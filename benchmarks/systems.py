"""Compare all systems and make the record of `python -m benchmarks peers`: one comparison per part and batch size."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.operations import SIDE, count_operations, matrix_products
from benchmarks.origin import commit_here, versions_of
from benchmarks.peers.cyto_bench import CytoBenchPeer
from benchmarks.peers.diffusers import DiffusersPeer
from benchmarks.peers.engine import ENGINE_REFERENCE, PROGRAM, EnginePeer
from benchmarks.peers.onnxruntime import OnnxRuntimePeer
from benchmarks.peers.peer import Peer, Work
from benchmarks.peers.stable_diffusion_cpp import StableDiffusionCppPeer
from benchmarks.rounds import INT8_PICTURE_DB, REFERENCE, TOLERANCES, Opened, compare
from benchmarks.settings import PeerSettings
from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.request import GenerateRequest
from engine.bundle.settings import EVERYWHERE, settings_of
from engine.errors import RequestError
from engine.machine import machine_facts
from engine.version import __version__
from exporter.load import MergedModel, load_merged

__all__ = ["bench_systems"]

PEER = "diffusers"
LIBRARIES = ("diffusers", "torch", "openvino", "onnxruntime", "numpy", "stable-diffusion-cpp-python")


def bench_systems(bundle: Bundle, merged_folder: Path, settings: PeerSettings) -> dict[str, Any]:
    """Compare the engine with its peers on one class and return the record with its raw seconds.

    benchmarks.rounds explains the parts. With a preset the record also has `preset`: its name, the settings of the
    engine, and with what its pictures were compared. Raises CytosynthError.
    """
    commit = commit_here()
    merged = load_merged(merged_folder)
    class_name = merged.record["class_name"]
    job = _job(bundle, class_name, settings)
    preset_job = None if settings.preset is None else _preset_job(bundle, class_name, settings)
    for preset in {None, settings.preset}:
        bundle.verify_for([class_name], preset)
    asked = job.request
    torch.set_num_threads(asked.threads)
    counted = count_operations(merged.unet, merged.vae, merged.refiner, bundle.manifest.context_shape[0])
    operations = _operations(counted, asked)
    peers = _peers(merged, asked.threads, settings.program)
    compared = []
    with tempfile.TemporaryDirectory() as folder:
        for part in settings.parts:
            for batch_size in settings.batch_size:
                preset_batch = preset_job and preset_job.changed(batch_size=batch_size)
                work = Work(job.changed(batch_size=batch_size), merged, Path(folder), preset_batch)
                opened = Opened(settings.system or [""])
                for peer in peers:
                    peer.add_to(opened, work, part)
                opened.expect_chosen()
                compared.append(_compare(opened, part, batch_size, operations[part], settings))
                del opened
                # The systems of a part hold gigabytes, and their graphs refer to each other.
                gc.collect()
    return {
        "machine": {**machine_facts(), "threads": asked.threads},
        "versions": {"cytosynth": __version__, **versions_of(LIBRARIES)},
        "commit": commit,
        "bundle": bundle.manifest.name,
        "bundle_sha256": bundle.sha256,
        "class": class_name,
        "unet_parameters": sum(weight.numel() for weight in merged.unet.parameters()),
        "steps": asked.num_inference_steps,
        "guidance_scale": asked.guidance_scale,
        **({} if preset_job is None else {"preset": _preset_record(str(settings.preset), preset_job)}),
        "rounds": settings.rounds,
        "cap_s": settings.cap_s,
        "reference": REFERENCE,
        "tolerances": {**TOLERANCES, "picture in 8 bits": INT8_PICTURE_DB},
        "operations": {**counted, **operations},
        "compared": compared,
    }


def _peers(merged: MergedModel, threads: int, cyto_bench: Path) -> tuple[Peer, ...]:
    """Return all peers. Their order is the order of the systems in the record."""
    return (
        DiffusersPeer(merged),
        OnnxRuntimePeer(merged, threads),
        EnginePeer(),
        CytoBenchPeer(cyto_bench),
        StableDiffusionCppPeer(),
    )


def _job(bundle: Bundle, class_name: str, settings: PeerSettings) -> Job:
    """Return the job of all systems without a preset. Its batch size is changed later. Raises RequestError."""
    options = settings_of(
        backend="openvino",
        sampler="dpmpp_2m",
        schedule="karras",
        guidance_scale=settings.guidance_scale,
        guidance_interval=EVERYWHERE,
        num_inference_steps=settings.num_inference_steps,
        precision="f32",
        threads=settings.threads,
    )
    job = make_job(bundle, [class_name], 1, options)
    if job.request.guidance_scale == 1 and "step" in settings.parts:
        raise RequestError(
            "--part step",
            found="guidance scale 1",
            expected="a guidance scale other than 1, because the step is guided",
            fix="set --guidance-scale",
        )
    return job


def _preset_job(bundle: Bundle, class_name: str, settings: PeerSettings) -> Job:
    """Return the job of the engine with a preset. Raises RequestError."""
    if settings.parts != ["picture"]:
        raise RequestError(
            f"--preset {settings.preset}",
            found=f"--part {next(part for part in settings.parts if part != 'picture')}",
            expected="the part picture alone, because a preset changes the number of steps and may have its own UNets",
            fix="leave out --part, or the preset",
        )
    options = settings_of(backend="openvino", preset=settings.preset, precision="f32", threads=settings.threads)
    return make_job(bundle, [class_name], 1, options)


def _preset_record(name: str, job: Job) -> dict[str, Any]:
    """Return what the record says about the preset with which the engine draws."""
    request = job.request
    return {
        "name": name,
        "sampler": request.sampler,
        "schedule": request.schedule,
        "steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "guidance_interval": request.guidance_interval,
        "unet_rows": sum(1 if scale == 1 else 2 for scale in job.scales),
        "plan_sha256": job.plan_sha256,
        "unets_sha256": request.unets_sha256,
        "compared_with": ENGINE_REFERENCE,
        "reason": "A preset has other steps and may have its own UNets, so its pictures differ from those of the peers",
    }


def _operations(counted: dict[str, int], request: GenerateRequest) -> dict[str, int]:
    """Return the operations of each part per picture."""
    rows = 1 if request.guidance_scale == 1 else 2
    return {
        "picture": rows * request.num_inference_steps * counted["unet_row"] + counted["decode"],
        "step": 2 * counted["unet_row"],
        "decode": counted["decode"],
    }


def _compare(opened: Opened, part: str, batch_size: int, operations: int, settings: PeerSettings) -> dict[str, Any]:
    """Compare the opened systems and return the record of one part and batch size."""
    products = matrix_products()
    beside_them = [product.system for product in products.values()]
    found = compare(opened, part, rounds=settings.rounds, cap_s=settings.cap_s, alongside=beside_them)
    beside = found.pop("alongside_seconds")
    medians = {name: float(np.median(seconds)) for name, seconds in found["seconds"].items()}
    best = min(seconds for name, seconds in medians.items() if found["program"][name] == PEER)
    return {
        "part": part,
        "batch_size": batch_size,
        **found,
        "per_second": {name: batch_size / seconds for name, seconds in medians.items()},
        "times_the_best_of_diffusers": {name: best / seconds for name, seconds in medians.items()},
        "operations_per_second": {
            name: batch_size * operations / seconds
            for name, seconds in medians.items()
            # The operations of a preset are not counted: its UNets may have factors beside the weights.
            if settings.preset is None or found["program"][name] != PROGRAM
        },
        "matrix_products": {
            kind: {
                "side": SIDE,
                "operations": product.operations,
                "seconds": beside[product.system.name],
            }
            for kind, product in products.items()
        },
    }
