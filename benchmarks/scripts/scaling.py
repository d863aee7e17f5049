"""What a run of 1 to 10,000 pictures takes, start and files included: fresh processes of `engine generate`.

    python -m benchmarks.scripts.scaling RECORD.json [--n 1,10,100,1000,10000] [further options of `engine generate`]

A run that is not counted comes first, so that graphs are compiled; runs of less than LONG pictures are made several
times, over all sizes in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.files import write_json
from engine.machine import processor_name
from engine.output.provenance import own_version

LONG = 1000
TIMES = 3


def run(n: int, options: list[str]) -> tuple[float, dict]:
    """Seconds of a whole process, and what it says of its run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "engine", "generate", "--n", str(n), "--out", folder, *options]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began, json.loads((Path(folder) / "run.json").read_text())


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("--n", default="1,10,100,1000,10000")
    asked, options = parser.parse_known_args()
    sizes = [int(word) for word in asked.n.split(",")]
    run(1, options)
    seconds: dict[str, list[float]] = {str(n): [] for n in sizes}
    for number in range(TIMES):
        for n in sizes:
            if number == 0 or n < LONG:
                took, found = run(n, options)
                seconds[str(n)].append(round(took, 3))
    record = {
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "version": own_version(),
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
