"""What a second Ray worker is worth: one local worker of one thread against two of one thread each, in turn.

    python -m benchmarks.scripts.workers RECORD.json [PICTURES]

Each round is a whole run of the embedded bundle's cyt_mast on a cluster of its own. `whole` counts from before the
cluster is started until the sheet is drawn; `making` from the moment when every worker has had two chunks, so that no
start-up is in it. The runs must have written the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from engine.bundle.folder import open_bundle
from engine.bundle.request import make_request
from engine.machine import processor_name
from engine.output.formats import make_output
from engine.runs.distributed import LOCAL, open_cluster
from engine.runs.generate import generate

PICTURES, ROUNDS = 320, 3
WORKERS = (1, 2)


def digest(folder: Path) -> str:
    """Of every picture, in order."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*/*.png")):
        found.update(path.read_bytes())
    return found.hexdigest()


def measure(workers: int, pictures: int) -> dict[str, object]:
    """One run: when each chunk was written, in seconds after the run began."""
    bundle = open_bundle("cells")
    request = make_request(bundle.manifest, class_names=["cyt_mast"], n=pictures, backend="openvino", threads=1)
    written = []
    with tempfile.TemporaryDirectory() as name:
        output = make_output(Path(name) / "out", "imagefolder", request.width, request.height, overwrite=False)
        began = time.perf_counter()
        with open_cluster(LOCAL, workers, request.threads) as cluster:
            generate(
                bundle,
                request,
                output,
                produced_by=cluster.produce,
                progress=lambda done, total, class_name: written.append((done, time.perf_counter() - began)),
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
    """Measure in turn, each round in the other order, and write the record."""
    record, pictures = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else PICTURES
    samples = [measure(workers, pictures) for place in range(ROUNDS) for workers in WORKERS[:: (-1) ** place]]
    assert len({sample["sha256"] for sample in samples}) == 1, "the runs wrote different bytes"
    medians = {
        f"{what}_pictures_a_second": {
            workers: statistics.median(
                sample[f"{what}_pictures_a_second"] for sample in samples if sample["workers"] == workers
            )
            for workers in WORKERS
        }
        for what in ("making", "whole")
    }
    facts = {
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {name: version(name) for name in ("cytosynth", "openvino", "ray")}
        | {"python": platform.python_version()},
        "bundle_sha256": open_bundle("cells").sha256,
        "pictures": pictures,
        "ratio": {name: found[2] / found[1] for name, found in medians.items()},
        "median": medians,
        "samples": samples,
    }
    record.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps({"ratio": facts["ratio"], "median": medians}, indent=1))


if __name__ == "__main__":
    main()
