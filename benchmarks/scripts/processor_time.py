"""Compare the processor time of commands in this checkout and in another one.

    python -m benchmarks.scripts.processor_time RECORD.json OTHER [--rounds 3] [--command "engine --help"]

OTHER is a checkout with the same packages, for example of an earlier commit. Each command runs in a fresh process of
this Python, in both checkouts in turn, round after round. Run the script once before, so that compiled graphs are in
the cache. The word OUT in a command stands for a new folder, whose pictures must be equal in both checkouts, byte by
byte. Processor time is the sum of user and system time. Other programs on the machine disturb it less than wall-clock
time, which is kept too.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.errors import CytosynthError
from engine.files import write_json
from engine.machine import machine_facts
from engine.terminal import run_command_line
from engine.version import __version__

PARTS = ("engine", "engine generate", "trainer", "trainer fit", "evaluate", "evaluate score")
HELP = tuple(f"{part} --help" for part in PARTS)
HERE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    processor_s: float
    wall_s: float
    largest_memory_mb: float
    pictures: dict[str, bytes]
    """The PNG files of the folder OUT, by name."""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = script_parser("benchmarks.scripts.processor_time", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("other", metavar="OTHER", type=existing_folder)
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--command", action="append", help="command to run; may be repeated (default: several helps)")
    return parser.parse_args()


def run(command: str, checkout: Path) -> Run:
    """Run a command in a checkout. Raises CytosynthError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        words = [folder if word == "OUT" else word for word in shlex.split(command)]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            fix = "run the command by hand"
            raise CytosynthError(
                f"{command} in {checkout}", found=f"exit code {process.returncode}", expected="0", fix=fix
            )
        pictures = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.png")}
    # On Linux the memory is in kilobytes.
    return Run(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1e3, pictures)


def compare(command: str, other: Path, rounds: int) -> dict[str, Any]:
    """Return the figures of a command in both checkouts. Raises CytosynthError if their pictures differ."""
    checkouts = {"other": other, "this": HERE}
    runs: dict[str, list[Run]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            runs[name].append(run(command, checkout))
            if runs[name][-1].pictures != runs["other"][0].pictures:
                fix = "compare the checkouts with benchmarks.scripts.same_bytes"
                raise CytosynthError(command, found="other pictures", expected="equal bytes", fix=fix)
    ratios = [before.processor_s / after.processor_s for before, after in zip(*runs.values(), strict=True)]
    return {
        "pictures": len(runs["this"][0].pictures),
        "ratio_of_processor_time": round(median(ratios), 3),
        **{
            name: {
                "median_processor_s": round(median(one.processor_s for one in some), 3),
                "processor_s": [round(one.processor_s, 3) for one in some],
                "wall_s": [round(one.wall_s, 3) for one in some],
                "largest_memory_mb": round(max(one.largest_memory_mb for one in some)),
            }
            for name, some in runs.items()
        },
    }


def main() -> None:
    """Compare every command, and write the record."""
    asked = parse_arguments()
    found = {command: compare(command, asked.other.resolve(), asked.rounds) for command in asked.command or HELP}
    facts = {"machine": machine_facts(), "versions": {"cytosynth": __version__}, "rounds": asked.rounds}
    write_json(asked.record, {**facts, "commands": found})
    for command, figures in found.items():
        before, after = (figures[name]["median_processor_s"] for name in ("other", "this"))
        print(f"{command}: {before} s, now {after} s of processor time, ratio {figures['ratio_of_processor_time']}")


if __name__ == "__main__":
    run_command_line(main)
