"""The front of quality against cost: settings of the sampler, each scored against real pictures and timed.

    python -m benchmarks.scripts.front RECORD.json WORK REAL --class neutrophil --class cyt_mast [--n 300]

REAL holds a folder of prepared real pictures for each class, such as those that the recipe keeps back for choosing
settings (build/cells/settings); held-out ones must not choose anything. WORK keeps the pictures and their scores: what
stands there is not made again. The settings are SETTINGS; those of the bundle's presets are added under their names.

A setting is "within" where the Fréchet and the kernel distance on cyto's features are at most the upper ends of the
intervals that the default's have. Seconds are of denoising and decoding a batch, over all settings in turn.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends.select import choose_backend, open_backend
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.request import EVERYWHERE, GenerateRequest, make_request
from engine.files import write_json
from engine.machine import processor_name
from engine.output.provenance import own_version
from engine.pipeline.pipeline import Pipeline, plan_of

DEFAULT = "default"
STEPS = (6, 8, 10, 12, 16, 20, 30, 50)
MANY = 20
"""More steps are drawn in the default's precision only."""
GUIDED = (10, 20)
"""Steps at which other guidance is tried, and other samplers."""
INTERVALS = ((3.0, 15.0), (0.3, 3.0))
"""In sigma; the schedule runs from 14.6 to 0.03."""
SAMPLERS = ("euler", "euler_a", "ddim")
FIGURES = ("FD-cyto", "KD-cyto")
SEED = 20_000


def settings(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Options of make_request by name."""
    found: dict[str, dict[str, Any]] = {DEFAULT: {}}
    for steps in STEPS:
        found[f"{steps} steps"] = {"num_inference_steps": steps}
        if "int8" in bundle.manifest.precisions and steps <= MANY:
            found[f"{steps} steps, int8"] = {"num_inference_steps": steps, "precision": "int8"}
    for steps in GUIDED:
        found[f"{steps} steps, no guidance"] = {"num_inference_steps": steps, "guidance_scale": 1.0}
        found[f"{steps} steps, guided throughout"] = {"num_inference_steps": steps, "guidance_interval": EVERYWHERE}
        for low, high in INTERVALS:
            found[f"{steps} steps, guidance for sigma {low:g} to {high:g}"] = {
                "num_inference_steps": steps,
                "guidance_interval": (low, high),
            }
        for sampler in SAMPLERS:
            found[f"{sampler}, {steps} steps"] = {"sampler": sampler, "num_inference_steps": steps}
    return found | {f"preset {name}": {"preset": name} for name in bundle.manifest.presets}


def options_of(request: GenerateRequest) -> list[str]:
    """A request's settings for `engine generate`."""
    words = ["--sampler", request.sampler, "--schedule", request.schedule]
    words += ["--steps", str(request.num_inference_steps), "--guidance-scale", repr(request.guidance_scale)]
    interval = EVERYWHERE if request.guidance_interval is None else request.guidance_interval
    return [*words, "--guidance-interval", *map(repr, interval), "--precision", request.precision]


def score(
    asked: argparse.Namespace, bundle: Bundle, name: str, class_name: str, request: GenerateRequest
) -> dict[str, Any]:
    """The figures of a setting on one class, by the public command lines. What stands in WORK is of the same bundle,
    options and number."""
    subject = [bundle.sha256, *options_of(request), str(asked.n), str(SEED)]
    digest = hashlib.sha256(" ".join(subject).encode()).hexdigest()[:8]
    folder = asked.work / f"{name.replace(' ', '-').replace(',', '')}-{digest}"
    records = folder / f"score-{class_name}"
    if not (records / "record.json").exists():
        command = [sys.executable, "-m", "engine", "generate", "--bundle", asked.bundle, "--class", class_name]
        command += ["--n", str(asked.n), "--seed", str(SEED), "--out", str(folder / class_name), *options_of(request)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-m", "evaluate", "score", str(asked.real / class_name)]
        command += [str(folder / class_name / class_name), "--features", "cyto", "--out", str(records)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results = json.loads((records / "record.json").read_text())["results"]
    figures = {figure: results["figures"][figure] for figure in FIGURES}
    return {
        "n": results["n"],
        **{figure: {key: found[key] for key in ("fake", "floor")} for figure, found in figures.items()},
    }


def times(bundle: Bundle, requests: dict[str, GenerateRequest], rounds: int) -> dict[str, list[float]]:
    """Seconds of a batch, raw. Pipelines are opened one round after another: all of them together take much memory."""
    seconds: dict[str, list[float]] = {name: [] for name in requests}
    for _ in range(rounds):
        for name, request in requests.items():
            with Pipeline(bundle, request.class_names[0], request, open_backend(bundle, request)) as pipeline:
                seeds = range(request.batch_size)
                pipeline.decode(pipeline.generate_latents(seeds))
                began = time.perf_counter()
                pipeline.decode(pipeline.generate_latents(seeds))
                seconds[name].append(round(time.perf_counter() - began, 4))
    return seconds


def within(found: dict[str, Any], default: dict[str, Any]) -> bool:
    """Whether every class keeps to the default's intervals."""
    return all(
        scored[figure]["fake"]["value"] <= default[class_name][figure]["fake"]["high"]
        for class_name, scored in found.items()
        for figure in FIGURES
    )


def main() -> None:
    """Generate, score, time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--class", dest="class_names", action="append", required=True)
    parser.add_argument("--bundle", default="cells")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--describe", help="what REAL holds, for the record")
    parser.add_argument("--only", action="append", help="one of the settings; may be repeated; the default is added")
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    chosen = {
        name: options for name, options in settings(bundle).items() if not asked.only or name in (DEFAULT, *asked.only)
    }
    request = {
        name: make_request(bundle.manifest, class_names=asked.class_names, n=asked.n, backend="auto", **options)
        for name, options in chosen.items()
    }
    twins = [name for name, one in request.items() if name != DEFAULT and one == request[DEFAULT]]
    for name in twins:
        del request[name]
    backend, why = choose_backend("auto", "auto", bundle, request[DEFAULT])
    requests = {name: replace(one, backend=backend) for name, one in request.items()}
    scores = {
        name: {class_name: score(asked, bundle, name, class_name, one) for class_name in asked.class_names}
        for name, one in requests.items()
    }
    seconds = times(bundle, requests, asked.rounds)
    default_s = float(np.median(seconds[DEFAULT]))
    found = {}
    for name, one in requests.items():
        median = float(np.median(seconds[name]))
        rows = sum(1 if scale == 1 else 2 for scale in plan_of(bundle, one)[1])
        found[name] = {
            "options": options_of(one),
            "unet_rows": rows,
            "seconds": seconds[name],
            "pictures_per_second": one.batch_size / median,
            "times_the_default": default_s / median,
            "classes": scores[name],
            "within": within(scores[name], scores[DEFAULT]),
        }
    record = {
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "version": own_version(),
        "backend": why,
        "bundle_sha256": bundle.sha256,
        "batch_size": requests[DEFAULT].batch_size,
        "real": asked.describe or f"the folder {asked.real.name}",
        "settings": found,
    }
    write_json(asked.record, record)
    fast = {name: one for name, one in found.items() if one["within"]}
    for name, one in sorted(fast.items(), key=lambda item: -item[1]["times_the_default"]):
        print(f"{one['times_the_default']:5.2f}  {name}")


if __name__ == "__main__":
    main()
