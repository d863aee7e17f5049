"""Measure whole runs of 1 to 10,000 pictures, including start-up and files, in fresh processes of `engine generate`.

    python -m benchmarks.scripts.scaling RECORD.json [--n 1,10,100,1000,10000] [further options of `engine generate`]

A first run compiles the graphs and is not counted. Runs of fewer than LONG pictures are repeated TIMES times; the sizes
take turns.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.arguments import new_file, numbers, script_parser
from engine.files import write_json
from engine.machine import machine_facts
from engine.version import __version__

LONG = 1000
TIMES = 3


def run(n: int, options: list[str]) -> tuple[float, dict[str, Any]]:
    """Return the seconds of a whole process and its run.json."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "engine", "generate", "--n", str(n), "--out", folder, *options]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began, json.loads((Path(folder) / "run.json").read_text())


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.scaling", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("--n", type=numbers, default=[1, 10, 100, 1000, 10_000], help="sizes of the runs")
    asked, options = parser.parse_known_args()
    run(1, options)
    seconds: dict[str, list[float]] = {str(n): [] for n in asked.n}
    for number in range(TIMES):
        for n in asked.n:
            if number == 0 or n < LONG:
                took, found = run(n, options)
                seconds[str(n)].append(round(took, 3))
    record = {
        "machine": machine_facts(),
        "version": __version__,
        "options": options,
        "request": {name: value for name, value in found["identity"].items() if name != "counts"},
        "seconds": seconds,
        "pictures_per_second": {n: int(n) / statistics.median(values) for n, values in seconds.items()},
        "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    write_json(asked.record, record)
    print(json.dumps(record["pictures_per_second"], indent=1))


if __name__ == "__main__":
    main()
