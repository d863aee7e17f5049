"""Measure how soon the engine answers: `engine --help`, and the first picture file when compiled graphs are cached.

    python -m benchmarks.scripts.start_up RECORD.json [further options of `engine generate`]

Every figure is the wall-clock time of a fresh process in seconds. A first run is not counted; TIMES runs follow.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arguments import new_file, script_parser
from engine.machine import processor_name
from engine.version import __version__

TIMES = 7
ENGINE = [sys.executable, "-m", "engine"]


def help_s() -> float:
    """Return the seconds of `engine --help`."""
    began = time.perf_counter()
    subprocess.run([*ENGINE, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_picture_s(options: list[str]) -> float:
    """Return the seconds from the start of `engine generate` until the first PNG file exists."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*ENGINE, "generate", "--out", folder, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not any(Path(folder).glob("*/*.png")):
            if process.poll():
                sys.exit(f"engine generate exited {process.returncode}")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        process.wait()
    return seconds


def main() -> None:
    """Measure both and write the record."""
    parser = script_parser("benchmarks.scripts.start_up", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    asked, options = parser.parse_known_args()
    options = options or ["--class", "cyt_mast", "--n", "16"]
    help_s()
    first_picture_s(options)
    samples = {
        "engine --help": [round(help_s(), 3) for _ in range(TIMES)],
        f"first picture of engine generate {' '.join(options)}": [
            round(first_picture_s(options), 3) for _ in range(TIMES)
        ],
    }
    found = {
        "machine": processor_name(),
        "version": __version__,
        "median_s": {name: statistics.median(values) for name, values in samples.items()},
        "samples_s": samples,
    }
    asked.record.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["median_s"], indent=1))


if __name__ == "__main__":
    main()
