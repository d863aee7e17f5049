"""Measure what it costs to join the pieces of a long run.

    python -m benchmarks.scripts.merge_runs RECORD.json

The script writes 16 pieces with 100,000 pictures in all, beside RECORD.json. The metadata lines are the ones that
`engine generate` writes; all pictures are copies of one small PNG. The script then times `merge_runs`: the check of
every line and file, the renames, the contact sheet, and the removal of the empty pieces. The record has wall-clock and
processor time, so that a busy machine can be told from a slow merge.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.arguments import new_file, script_parser
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.machine import machine_facts
from engine.output.chunks import Chunks, Piece
from engine.output.journal import Journal
from engine.output.merge_runs import merge_runs
from engine.output.provenance import describe
from engine.terminal import run_command_line

PIECES, PICTURES, ROUNDS = 16, 50_000, 3


def lay_down(out: Path, pictures: int = PICTURES) -> int:
    """Write two classes with `pictures` pictures each, in PIECES pieces. Return the bytes of metadata."""
    bundle = open_bundle("cells")
    names = list(bundle.manifest.classes)[:2]
    job = make_job(bundle, names, pictures, settings_of(backend="openvino", threads=1))
    request, descriptions = job.request, [describe(job, name) for name in names]
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


def main() -> None:
    """Write, merge and time the pieces; write the record."""
    parser = script_parser("benchmarks.scripts.merge_runs", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    record: Path = parser.parse_args().record
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
    machine = {**machine_facts(), "python": sys.version.split()[0]}
    record.write_text(json.dumps({**facts, "machine": machine}, indent=1) + "\n")


if __name__ == "__main__":
    run_command_line(main)
