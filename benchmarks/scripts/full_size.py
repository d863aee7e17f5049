"""Measure the whole path at the size of Stable Diffusion 1.5: merge, export, 8 bits, build for the RTX A6000, two fit
steps.

    python -m benchmarks.scripts.full_size RECORD.json WORK        (needs 27 GB of disk in WORK and 20 GB of memory)

WORK is a new folder. Each stage is a command in its own process. The record has wall-clock time, peak memory and the
sizes of the files that the stage wrote. The weights are random, because the real weights need a download. The values
of weights change neither time nor size.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.arguments import new_file, script_parser
from benchmarks.scripts.random_base import full_size_base
from engine.machine import processor_name
from engine.version import __version__
from trainer.base.base import digest_of
from trainer.hypernetwork.files import HypernetworkFile, write_hypernetwork
from trainer.hypernetwork.network import Hypernetwork, attention_dimensions
from trainer.training.record import ClassRecord, machine_and_versions

CLASSES = ("one", "two")
MEASURED = """
import resource, runpy, sys
module = sys.argv[1]
sys.argv = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=False)
finally:
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def make_weights(work: Path) -> None:
    """Write a base, two hypernetworks with the thesis's structure, and two pictures."""
    torch.manual_seed(0)
    base = full_size_base(list(CLASSES))
    base.save(work / "base")
    digest = digest_of(base.unet)
    for name in CLASSES:
        record = ClassRecord(name, name, "phantom", 1, "CC0", "random weights")
        hypernetwork = Hypernetwork(attention_dimensions(base.unet))
        write_hypernetwork(work / f"{name}.safetensors", HypernetworkFile(hypernetwork, name, 0, record, digest))
    (work / "pictures").mkdir()
    for i in range(2):
        noise = np.random.default_rng(i).integers(256, size=(512, 512, 3), dtype=np.uint8)
        Image.fromarray(noise).save(work / f"pictures/{i}.png")


def measure(*arguments: object) -> dict[str, float]:
    """Run a command and return its seconds and its peak memory. Exit if the command fails."""
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{arguments} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
    peak = int(done.stderr.rsplit("PEAK ", 1)[1].split()[0])
    found = {"seconds": round(seconds, 1), "peak_gb": round(peak * 1024 / 1e9, 2)}
    print(" ".join(map(str, arguments)), found, flush=True)
    return found


def measure_8_bits(work: Path, bundle: Path) -> dict[str, dict[str, float]]:
    """Measure `exporter int8` on a copy of the bundle with its first class, and a picture of two steps."""
    copy = shutil.copytree(bundle, work / "bundle-int8")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["classes"] = {CLASSES[0]: manifest["classes"][CLASSES[0]]}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    stages = {"int8 one": measure("exporter", "int8", copy, "--pictures", 1)}
    for precision in ("f32", "int8"):
        generate = ("generate", "--bundle", copy, "--class", CLASSES[0], "--n", 1, "--steps", 2, "--batch-size", 1)
        stages[f"generate {precision}"] = measure(
            "engine", *generate, "--precision", precision, "--out", work / f"pictures-{precision}"
        )
    shutil.rmtree(copy)
    return stages


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Run all stages and write the record."""
    parser = script_parser("benchmarks.scripts.full_size", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("work", metavar="WORK", type=Path)
    asked = parser.parse_args()
    record, work = asked.record, asked.work
    if work.exists():
        parser.error(f"{work} exists already; name a new folder")
    work.mkdir(parents=True)
    make_weights(work)
    stages = {}
    for name in CLASSES:
        merge = ["trainer", "merge", work / f"{name}.safetensors", "--base", work / "base", "--out", work / name]
        stages[f"merge {name}"] = measure(*merge)
    bundle, sizes = work / "bundle", []
    for name in CLASSES:
        # The calibration of 8 bits draws with the bundle's steps.
        steps = () if bundle.exists() else ("--steps", 2)
        stages[f"onnx {name}"] = measure("exporter", "onnx", work / name, "--out", bundle, *steps)
        sizes.append(size_of(bundle))
    stages |= measure_8_bits(work, bundle)
    build = ["exporter", "tensorrt", bundle, "--gpu", "a6000", "--batch", "1,8,16"]
    stages["tensorrt one"] = measure(*build, "--class", "one")
    reports = {path.name: json.loads(path.read_text()) for path in sorted(bundle.glob("plans/*/*.report.json"))}
    fit = ["trainer", "fit", work / "pictures", "--base", work / "base", "--class", "three", "--steps", 2]
    for precision in ("bf16", "f32"):
        stages[f"fit {precision}"] = measure(*fit, "--precision", precision, "--out", work / f"fit-{precision}")
        run = json.loads((work / f"fit-{precision}/three.json").read_text())["training"]
        stages[f"fit {precision}"]["seconds_per_step"] = run["seconds_per_step"]
    found = {
        "processor": processor_name(),
        **machine_and_versions(),
        "cytosynth": __version__,
        "stages": stages,
        "bundle_bytes": {"one class": sizes[0], "added by the second": sizes[1] - sizes[0]},
        "plans": {
            name: {key: report[key] for key in ("bytes", "seconds", "profile", "header", "builder_memory")}
            for name, report in reports.items()
        },
    }
    record.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
