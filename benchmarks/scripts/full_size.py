"""Measure the commands of the guide on Stable Diffusion 1.5 at full size, as far as they run without a GPU.

    python -m benchmarks.scripts.full_size RECORD.json WORK [--only STAGE]

WORK needs about 25 GB of disk, and the machine about 16 GB of memory.

Each stage is a command of docs/guides/stable-diffusion-a6000.md in its own process, with few pictures and steps. The
record has its processor time (user and system), its wall-clock time, its peak memory, and the bytes that it wrote into
WORK. It is written after each stage. The same command continues after an interruption: it leaves out the stages that
the record has.

The base is a single file in WORK with random weights, which the script makes unless it is there. The values of weights
change neither time nor size.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.arguments import new_file, script_parser
from benchmarks.origin import versions_of
from engine.files import write_json
from engine.machine import machine_facts
from engine.terminal import run_command_line
from engine.version import __version__

__all__ = ["SINGLE_FILE", "STAGES", "measure"]

ROOT = Path(__file__).parents[2]
SINGLE_FILE = "v1-5-pruned-emaonly.safetensors"
BASE = f"--base {SINGLE_FILE} --tokenizer clip"
GENERATE = "engine generate --bundle bundle --class cyst --n 1 --batch-size 1"
STAGES = {
    "phantom": "trainer phantom mine --class cytology --n 21 --size 512",
    "prepare": "trainer prepare mine/pictures prepared --size 512",
    "prepare 100": "trainer prepare mine/pictures augmented --size 512 --n 100",
    "prepare 2": "trainer prepare mine/pictures few --size 512 --n 2",
    "fit": f"trainer fit few/cytology --class cyst {BASE} --out hypernetworks --steps 1",
    "merge": f"trainer merge hypernetworks/cyst.safetensors {BASE} --out merged/cyst",
    "onnx": "exporter onnx merged/cyst --out bundle --steps 1",
    "tensorrt": "exporter tensorrt bundle --gpu a6000 --batch 1,8,16",
    "plans check": "exporter plans check bundle",
    "inspect": "exporter inspect bundle",
    "doctor": "engine doctor",
    "generate f32": f"{GENERATE} --precision f32 --out runs/f32",
    "generate f32 again": f"{GENERATE} --precision f32 --out runs/f32-again",
    "int8": "exporter int8 bundle --pictures 1",
    "generate int8": f"{GENERATE} --precision int8 --out runs/int8",
    "generate int8 again": f"{GENERATE} --precision int8 --out runs/int8-again",
    "plans remove": "exporter plans remove bundle --stale",
    "bench": "engine bench bundle --class cyst --batch-size 1 --rounds 1",
    "verify": "exporter verify bundle --merged merged/cyst",
    "distill": "trainer distill merged/cyst --out distilled --rows 2 --teacher-steps 4 --guidance-scale 1 --pictures 2 "
    "--rank 16 --steps 1 --batch-size 1",
    "merge second class": f"trainer merge hypernetworks/cyst.safetensors --class fibroma --multiplier 0.5 {BASE} "
    "--out merged/fibroma",
    "onnx second class": "exporter onnx merged/fibroma --out bundle",
    "fit lora": f"trainer fit few/cytology --class glioma --method lora --rank 8 {BASE} --out adapters --steps 1",
    "merge lora": f"trainer merge adapters/glioma.safetensors {BASE} --out merged/glioma",
    "fit full": f"trainer fit few/cytology --class whole --method full {BASE} --out unets --steps 1 "
    "--gradient-checkpointing",
}
"""The commands by stage, each run in WORK. The bundle draws with one step by default, because int8 and verify draw
with the bundle's steps."""


def measure(*arguments: object, folder: Path = ROOT) -> dict[str, float]:
    """Run a module of the project with arguments in a folder.

    Returns its processor time and its wall-clock time in seconds, and its peak memory in GB. Exits if it fails.
    """
    command = [sys.executable, "-m", *map(str, arguments)]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=sys.stderr, stdin=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{shlex.join(map(str, arguments))} exited {process.returncode}")
    found = {
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "seconds": round(time.perf_counter() - began, 1),
        # On Linux the memory is in kilobytes.
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),
    }
    print(" ".join(map(str, arguments)), found, flush=True)
    return found


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(work: Path, command: str) -> dict[str, Any]:
    """Run the command of a stage and return its figures."""
    before = size_of(work)
    found: dict[str, Any] = {"command": command, **measure(*shlex.split(command), folder=work)}
    return {**found, "written_bytes": size_of(work) - before}


def main() -> None:
    """Run all stages and write the record."""
    parser = script_parser("benchmarks.scripts.full_size", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("work", metavar="WORK", type=Path)
    parser.add_argument("--only", metavar="STAGE", choices=STAGES, action="append", help="stage; may be repeated")
    asked = parser.parse_args()
    record, work = asked.record, asked.work
    if not (work / SINGLE_FILE).exists():
        measure("benchmarks.scripts.random_base", work.absolute(), "file")
    found: dict[str, Any] = {
        "machine": {**machine_facts(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")},
        "versions": {"cytosynth": __version__, **versions_of(("torch", "diffusers", "transformers", "openvino"))},
        "stages": json.loads(record.read_text())["stages"] if record.exists() else {},
    }
    for stage in asked.only or STAGES:
        if stage not in found["stages"]:
            found["stages"][stage] = measured(work, STAGES[stage])
            write_json(record, found)


if __name__ == "__main__":
    run_command_line(main)
