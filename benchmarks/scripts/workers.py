"""Measure what a second Ray worker gains: one local worker against two, with one thread per worker.

    python -m benchmarks.scripts.workers RECORD.json [PICTURES]

Each round is a whole run of the class cyt_mast of the embedded bundle, on a new cluster. `whole` counts from the start
of the cluster to the finished contact sheet. `making` starts when every worker has finished two chunks, so that it
excludes start-up. All runs must write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.arguments import new_file, script_parser
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.machine import machine_facts
from engine.output.formats import make_output
from engine.runs.distributed import LOCAL, open_cluster
from engine.runs.generate import generate
from engine.terminal import run_command_line

PICTURES, ROUNDS = 320, 3
WORKERS = (1, 2)


def digest(folder: Path) -> str:
    """Return the SHA-256 of all pictures in order."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*/*.png")):
        found.update(path.read_bytes())
    return found.hexdigest()


def measure(workers: int, pictures: int) -> dict[str, Any]:
    """Make one run. The result has the rates, and the seconds from the start of the run to each written chunk."""
    bundle = open_bundle("cells")
    job = make_job(bundle, ["cyt_mast"], pictures, settings_of(backend="openvino", threads=1))
    request = job.request
    written = []
    with tempfile.TemporaryDirectory() as name:
        output = make_output(Path(name) / "out", "imagefolder", request.width, request.height, overwrite=False)
        began = time.perf_counter()
        with open_cluster(LOCAL, workers, request.threads) as cluster:
            generate(
                job,
                output,
                produced_by=cluster.produce,
                progress=lambda task, done, *_: written.append((done, time.perf_counter() - began)),
            )
            whole_s = time.perf_counter() - began
        done, chunk_s = zip(*written[1:], strict=True)
        start, end = 2 * workers - 1, len(done) - 1
        return {
            "workers": workers,
            "whole_pictures_a_second": done[end] / whole_s,
            "making_pictures_a_second": (done[end] - done[start]) / (chunk_s[end] - chunk_s[start]),
            "whole_s": round(whole_s, 3),
            "chunk_s": [round(seconds, 3) for seconds in chunk_s],
            "sha256": digest(output.folder),
        }


def main() -> None:
    """Measure both cases in turn, with the order reversed in every other round, and write the record."""
    parser = script_parser("benchmarks.scripts.workers", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("pictures", metavar="PICTURES", type=int, nargs="?", default=PICTURES)
    asked = parser.parse_args()
    pictures: int = asked.pictures
    samples = [measure(workers, pictures) for place in range(ROUNDS) for workers in WORKERS[:: (-1) ** place]]
    assert len({sample["sha256"] for sample in samples}) == 1, "the runs wrote different bytes"
    medians: dict[str, dict[int, float]] = {
        f"{what}_pictures_a_second": {
            workers: statistics.median(
                sample[f"{what}_pictures_a_second"] for sample in samples if sample["workers"] == workers
            )
            for workers in WORKERS
        }
        for what in ("making", "whole")
    }
    ratio = {name: found[2] / found[1] for name, found in medians.items()}
    facts = {
        "machine": {**machine_facts(), "system": platform.platform()},
        "versions": {name: version(name) for name in ("cytosynth", "openvino", "ray")}
        | {"python": platform.python_version()},
        "bundle_sha256": open_bundle("cells").sha256,
        "pictures": pictures,
        "ratio": ratio,
        "median": medians,
        "samples": samples,
    }
    asked.record.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps({"ratio": ratio, "median": medians}, indent=1))


if __name__ == "__main__":
    run_command_line(main)
