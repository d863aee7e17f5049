"""What joining the pieces of a long run costs: merge_runs.json.

    python -m benchmarks.scripts.merge_runs RECORD.json

Sixteen pieces of 100,000 pictures in all are laid down with metadata lines as `generate` writes them; the pictures
themselves are one small PNG under many names. Timed is `merge_runs`: its check of every line and file, the renames, and
what it writes. The sheet and the removal of the empty pieces are part of it. Beside the wall clock stands the time that
this process had of the processor, which tells a busy machine from a slow merge.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from engine.bundle.folder import open_bundle
from engine.bundle.request import make_request
from engine.machine import processor_name
from engine.output.chunks import Chunks, Piece
from engine.output.journal import Journal
from engine.output.merge_runs import merge_runs
from engine.output.provenance import describe
from engine.pipeline.pipeline import plan_of

PIECES, PICTURES, ROUNDS = 16, 50_000, 3


def lay_down(out: Path, pictures: int = PICTURES) -> int:
    """Two classes of so many pictures each, in PIECES pieces; returns the bytes of metadata."""
    bundle = open_bundle("cells")
    names = list(bundle.manifest.classes)[:2]
    request = make_request(bundle.manifest, class_names=names, n=pictures, backend="openvino", threads=1)
    plan, scales = plan_of(bundle, request)
    descriptions = [describe(bundle, request, name, plan.sha256(scales)) for name in names]
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, format="PNG")
    identity = {**request.as_json(), "format": "imagefolder"}
    size = 0
    for number in range(1, PIECES + 1):
        piece = Piece(number, PIECES)
        chunks = Chunks(request.counts, request.batch_size, piece)
        journal = Journal(piece.folder(out), {**identity, "shard": str(piece)}, chunks)
        journal.start()
        for name in names:
            (journal.folder / name).mkdir(exist_ok=True)
        rows = []
        for chunk in range(chunks.first, chunks.stop):
            position, start = chunks.position(chunk), chunks.start(chunk)
            for index in range(start, start + chunks.size(chunk)):
                file_name = f"{names[position]}/{index:06d}.png"
                (journal.folder / file_name).write_bytes(file.getvalue())
                rows.append({"file_name": file_name, **descriptions[position], "seed": index})
        journal.append(rows, [])
        journal.write_run(complete=True, seconds=1.0, versions={})
        journal.close()
        size += (journal.folder / "metadata.jsonl").stat().st_size
    return size


def main(record: Path) -> None:
    seconds, processor_seconds = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=record.resolve().parent) as folder:
            size = lay_down(Path(folder) / "out")
            began, worked = time.perf_counter(), time.process_time()
            found = merge_runs(Path(folder) / "out")
            seconds.append(time.perf_counter() - began)
            processor_seconds.append(time.process_time() - worked)
            assert found.total == 2 * PICTURES
    facts = {"pictures": 2 * PICTURES, "pieces": PIECES, "metadata_bytes": size, "seconds": seconds}
    facts["processor_seconds"] = processor_seconds
    machine = {"processor": processor_name(), "cores": os.cpu_count(), "python": sys.version.split()[0]}
    record.write_text(json.dumps({**facts, "machine": machine}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
