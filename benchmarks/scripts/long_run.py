"""Sample memory and processor time of one long run of the engine from outside (Linux only).

    python -m benchmarks.scripts.long_run RECORD.json --n 10000 [further options of `engine generate`]

The script takes a sample every 100 pictures: resident memory, peak memory, and processor seconds since the start. The
record has the raw samples, the resident memory at picture 500 and at the last sample, and the slope of the processor
seconds per chunk.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.arguments import new_file, script_parser

EVERY = 100
TICKS = os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float]:
    """Return resident memory and peak memory of a process in MB. Raises OSError when the process has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status))
    if len(found) < 2:
        raise ProcessLookupError(f"the process {pid} has ended")
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


def processor_seconds(pid: int) -> float:
    """Return user and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    """Run the engine, sample it and write the record."""
    parser = script_parser("benchmarks.scripts.long_run", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    asked, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "engine", "generate", "--out", folder, *options]
        process = subprocess.Popen(command)
        metadata = Path(folder) / "metadata.jsonl"
        samples: list[list[float]] = []
        lines = position = 0
        while process.poll() is None:
            time.sleep(0.02)
            if not metadata.exists():
                continue
            with metadata.open("rb") as file:
                file.seek(position)
                new = file.read()
            position += len(new)
            lines += new.count(b"\n")
            if lines >= EVERY * (len(samples) + 1):
                try:
                    resident, peak = memory_mb(process.pid)
                    samples.append([lines, round(resident, 1), round(peak, 1), processor_seconds(process.pid)])
                except OSError:
                    break
        process.wait()
        run = json.loads((Path(folder) / "run.json").read_text())
    table = np.array(samples)
    per_chunk = np.diff(table[:, 3]) / np.diff(table[:, 0]) * run["identity"]["batch_size"]
    slope = np.polyfit(table[1:, 0], per_chunk, 1)[0] * 10_000
    at_500 = table[np.searchsorted(table[:, 0], 500)]
    summary = {
        "exit_code": process.returncode,
        "pictures": int(table[-1, 0]),
        "peak_mb": float(table[-1, 2]),
        "resident_mb_at_500": float(at_500[1]),
        "resident_mb_at_end": float(table[-1, 1]),
        "processor_seconds_a_chunk": float(np.median(per_chunk)),
        "its_change_over_10000_pictures": float(slope),
    }
    columns = ["pictures", "resident_mb", "peak_mb", "processor_seconds"]
    text = json.dumps({"summary": summary, "run": run, "columns": columns, "samples": samples}, indent=1)
    asked.record.write_text(text + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
