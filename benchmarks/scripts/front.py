"""Measure quality against cost: score and time many settings of the sampler.

    python -m benchmarks.scripts.front RECORD.json WORK REAL --class neutrophil --class cyt_mast [--n 300]

REAL holds one folder of prepared real pictures per class. Use the pictures that the recipe reserves for choosing
settings (build/cells/settings), never held-out pictures. WORK keeps pictures and scores, and the script reuses what it
finds there. The function `settings` lists the settings, including the bundle's presets.

A setting is "within" if, in every class, its Fréchet and kernel distances on cyto's features do not exceed the upper
ends of the default's intervals. Times cover denoising and decoding one batch; the settings take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.backends.select import choose_backend, open_backend
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.request import GenerateRequest
from engine.bundle.settings import EVERYWHERE, settings_of
from engine.files import write_json
from engine.machine import machine_facts
from engine.pipeline.pipeline import Pipeline
from engine.terminal import run_command_line
from engine.version import __version__
from evaluate.report.records import read_results
from evaluate.studies.score import Score, ScoreResults

DEFAULT = "default"
STEPS = (4, 6, 8, 10, 12, 16, 20, 30, 50)
MANY = 20
"""Settings with more steps are drawn only in the default precision."""
GUIDED = (10, 20)
"""Numbers of steps at which the script tries other guidance and other samplers."""
INTERVALS = ((3.0, 15.0), (0.3, 3.0))
"""Guidance intervals in sigma. The schedule runs from 14.6 to 0.03."""
SAMPLERS = ("euler", "euler_a", "ddim", "unipc", "dpmpp_3m_sde", "heun", "restart", "ddim_cfgpp")
FIGURES = ("FD-cyto", "KD-cyto")
SEED = 20_000


def settings(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Return the options of settings_of for each setting, by name."""
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
    for name, preset in bundle.manifest.presets.items():
        found[f"preset {name}"] = {"preset": name}
        if preset.precision == "f32":
            found[f"preset {name}, automatic precision"] = {"preset": name, "precision": "auto"}
        if preset.unets and "int8" in bundle.manifest.precisions_of(name):
            found[f"preset {name}, int8"] = {"preset": name, "precision": "int8"}
    return found


def options_of(request: GenerateRequest) -> list[str]:
    """Return a request's settings as options of `engine generate`. A learned table has a preset of its own."""
    if request.preset is not None:
        return ["--preset", request.preset, "--precision", request.precision]
    words = ["--sampler", request.sampler, "--schedule", request.schedule]
    words += ["--steps", str(request.num_inference_steps), "--guidance-scale", repr(request.guidance_scale)]
    interval = EVERYWHERE if request.guidance_interval is None else request.guidance_interval
    return [*words, "--guidance-interval", *map(repr, interval), "--precision", request.precision]


@dataclass(frozen=True)
class Scored:
    """The distances of a setting on one class, by figure, over n pictures."""

    n: int
    figures: dict[str, Score]

    def as_json(self) -> dict[str, Any]:
        """Return what the record keeps."""
        kept = {name: {"fake": asdict(one.fake), "floor": asdict(one.floor)} for name, one in self.figures.items()}
        return {"n": self.n, **kept}


def score(asked: argparse.Namespace, bundle: Bundle, name: str, class_name: str, request: GenerateRequest) -> Scored:
    """Return the figures of a setting on one class, made by the public command lines. The folder's name contains a
    digest of bundle, options and number of pictures, so that WORK never mixes different runs."""
    # A folder of an earlier version, whose noise did not depend on the class, has no such word.
    noise = "shared noise" if request.shared_noise else "noise by class"
    subject = [bundle.sha256, *options_of(request), str(asked.n), str(SEED), noise]
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
    results = read_results(records, ScoreResults)
    return Scored(results.n, {figure: results.figures[figure] for figure in FIGURES})


def times(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Return the raw seconds of one batch for each job. Each round opens the pipelines one after another, because all
    of them together need much memory."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            with Pipeline(job, job.request.class_names[0], open_backend(job)) as pipeline:
                seeds = range(job.request.batch_size)
                pipeline.decode(pipeline.generate_latents(seeds), seeds)
                began = time.perf_counter()
                pipeline.decode(pipeline.generate_latents(seeds), seeds)
                seconds[name].append(round(time.perf_counter() - began, 4))
    return seconds


def within(found: dict[str, Scored], default: dict[str, Scored]) -> bool:
    """Return whether the distances of every class stay within the default's intervals."""
    return all(
        one.fake.value <= default[class_name].figures[figure].fake.high
        for class_name, scored in found.items()
        for figure, one in scored.figures.items()
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = script_parser("benchmarks.scripts.front", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("work", metavar="WORK", type=Path)
    parser.add_argument("real", metavar="REAL", type=existing_folder)
    parser.add_argument(
        "--class", dest="class_names", action="append", required=True, help="class to draw; may be repeated"
    )
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--n", type=int, default=300, help="pictures per class (default: 300)")
    parser.add_argument("--rounds", type=int, default=5, help="timing rounds (default: 5)")
    parser.add_argument("--describe", help="description of REAL for the record")
    parser.add_argument(
        "--only", action="append", help="name of one setting; may be repeated; the default is always included"
    )
    return parser.parse_args()


def main() -> None:
    """Generate, score and time every setting, then write the record."""
    asked = parse_arguments()
    bundle = open_bundle(asked.bundle)
    chosen = {
        name: options for name, options in settings(bundle).items() if not asked.only or name in (DEFAULT, *asked.only)
    }
    wanted = {
        name: make_job(bundle, asked.class_names, asked.n, settings_of(**options)) for name, options in chosen.items()
    }
    twins = [name for name, one in wanted.items() if name != DEFAULT and one.request == wanted[DEFAULT].request]
    for name in twins:
        del wanted[name]
    backend, why = choose_backend("auto", "auto", wanted[DEFAULT])
    jobs = {name: one.changed(backend=backend) for name, one in wanted.items()}
    scores = {
        name: {class_name: score(asked, bundle, name, class_name, one.request) for class_name in asked.class_names}
        for name, one in jobs.items()
    }
    seconds = times(jobs, asked.rounds)
    default_s = float(np.median(seconds[DEFAULT]))
    found: dict[str, dict[str, Any]] = {}
    for name, one in jobs.items():
        median = float(np.median(seconds[name]))
        rows = sum(1 if scale == 1 else 2 for scale in one.scales)
        found[name] = {
            "options": options_of(one.request),
            "unet_rows": rows,
            "seconds": seconds[name],
            "pictures_per_second": one.request.batch_size / median,
            "times_the_default": default_s / median,
            "classes": {class_name: scored.as_json() for class_name, scored in scores[name].items()},
            "within": within(scores[name], scores[DEFAULT]),
        }
    record = {
        "machine": machine_facts(),
        "version": __version__,
        "backend": why,
        "bundle_sha256": bundle.sha256,
        "batch_size": jobs[DEFAULT].request.batch_size,
        "real": asked.describe or f"the folder {asked.real.name}",
        "settings": found,
    }
    write_json(asked.record, record)
    fast = {name: row for name, row in found.items() if row["within"]}
    for name, row in sorted(fast.items(), key=lambda item: -item[1]["times_the_default"]):
        print(f"{row['times_the_default']:5.2f}  {name}")


if __name__ == "__main__":
    run_command_line(main)
