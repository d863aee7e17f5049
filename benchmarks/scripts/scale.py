"""Measure what a million cells cost: time this machine, simulate up to 1,000 of them, write a record and a page.

    python -m benchmarks.scripts.scale [RECORD.json [PAGE.md]] [--usd-per-hour RATE]
    python -m benchmarks.scripts.scale [RECORD.json [PAGE.md]] --again     # writes the page from the record

RECORD.json and PAGE.md are docs/benchmarks/scale.json and the published page by default. RATE is the price of one hour
of this machine in USD. --disk names a folder on the file system that the workers would share (default: the record's
folder).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.arguments import existing_folder, new_file, script_parser
from benchmarks.pages.published import RECORDS, SCALE_PAGE
from benchmarks.pages.scale_page import Sources, page
from benchmarks.scripts import merge_runs
from engine.backends.select import choose_backend, open_backend
from engine.bundle.folder import open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import settings_of
from engine.files import write_json
from engine.measure import bench
from engine.output.chunks import Chunks
from engine.output.formats import ImageFolder, PictureWriter, WebDataset, encode_png, make_output
from engine.output.journal import METADATA, Journal
from engine.runs.generate import generate
from engine.terminal import run_command_line

WRITTEN, LARGE_BYTES, ROUNDS = 4000, 2**29, 5


@contextmanager
def folder_in(root: Path) -> Iterator[Path]:
    """Yield an empty folder inside `root` that is removed at the end of the block."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        yield Path(folder)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a function takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class WholeRun:
    """The facts of a run, some of its PNG files, and the metadata of one picture."""

    facts: dict[str, Any]
    pngs: list[bytes]
    description: dict[str, Any]


def whole_run(job: Job, disk: Path) -> WholeRun:
    """Make one run as a user would. The facts hold the raw seconds between chunks (without the first chunk), and
    processor time and bytes per picture."""
    bundle, request = job.bundle, job.request
    marks: list[tuple[int, float, float]] = []
    with folder_in(disk) as folder:
        out = folder / "out"
        output = make_output(out, "imagefolder", request.width, request.height, overwrite=False)
        generate(
            job,
            output,
            progress=lambda task, done, *_: marks.append((done, time.perf_counter(), time.process_time())),
        )
        files = sorted(out.glob("*/*.png"))
        lines = (out / METADATA).read_text(encoding="utf-8").splitlines(keepends=True)
        made, wall_s, processor_s = np.array(marks[1:]).T
        chunk_s = np.diff(wall_s)
        words = ["generate", "--class", request.class_names[0], "--n", 1, "--bundle", bundle.folder]
        words += ["--steps", request.num_inference_steps, "--out", folder / "one"]
        command = [sys.executable, "-m", "engine", *map(str, words)]
        one_s = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
        facts = {
            "pictures": len(files),
            "chunk_s": chunk_s.round(4).tolist(),
            "processor_s_a_picture": float((processor_s[-1] - processor_s[0]) / (made[-1] - made[0])),
            "start_s": max(0.0, one_s - float(chunk_s.mean())),
            "png_bytes": float(np.mean([path.stat().st_size for path in files])),
            "line_bytes": sum(len(line.encode()) for line in lines) / len(files),
        }
        description = {key: value for key, value in json.loads(lines[0]).items() if key != "file_name"}
        return WholeRun(facts, [path.read_bytes() for path in files[: request.batch_size]], description)


def written(writer: Callable[[Path], PictureWriter], run: WholeRun, disk: Path) -> list[float]:
    """Return the seconds of each round for writing WRITTEN pictures, until all of them are on the medium."""

    def write(folder: Path) -> None:
        with writer(folder) as pictures:
            for index in range(WRITTEN):
                pictures.write(index, index, 0, run.pngs[index % len(run.pngs)], run.description)
            pictures.finish()
        os.sync()

    rounds = []
    for _ in range(ROUNDS):
        with folder_in(disk) as folder:
            os.sync()
            rounds.append(seconds(partial(write, folder)))
    return rounds


def large_file(disk: Path) -> list[float]:
    """Return the bytes per second of each round for writing and flushing one file of LARGE_BYTES random bytes."""
    block = np.random.default_rng(0).bytes(2**24)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            for _ in range(LARGE_BYTES // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    rates = []
    for _ in range(ROUNDS):
        with folder_in(disk) as folder:
            rates.append(LARGE_BYTES / seconds(partial(write, folder / "large")))
    return rates


def metadata_s(description: dict[str, Any], batch_size: int, disk: Path) -> float:
    """Return the seconds per picture for writing its line to metadata.jsonl."""
    with folder_in(disk) as folder:
        chunks = Chunks([WRITTEN], batch_size)
        journal = Journal(folder / "out", {"class_names": ["a"]}, chunks)
        journal.start()
        row = {"file_name": "a/000000.png", **description}

        def append_all() -> None:
            for _ in range(chunks.count):
                journal.append([row] * batch_size, [])

        found = seconds(append_all)
        journal.close()
    return found / WRITTEN


def joined_s(disk: Path) -> float:
    """Return the seconds per picture that merge-runs needs for folders."""
    with folder_in(disk) as folder:
        pictures = 2 * WRITTEN
        merge_runs.lay_down(folder / "out", WRITTEN)
        return seconds(lambda: merge_runs.merge_runs(folder / "out")) / pictures


def encode_s(run: WholeRun) -> list[float]:
    """Return the seconds per picture of each round of PNG encoding."""
    images = [np.asarray(Image.open(io.BytesIO(png))) for png in run.pngs]
    return [
        seconds(lambda: [encode_png(image, run.description) for image in images]) / len(images) for _ in range(ROUNDS)
    ]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure this machine and return the record."""
    bundle, disk = open_bundle(arguments.bundle), arguments.disk or arguments.record.resolve().parent
    name = arguments.class_name or next(iter(bundle.manifest.classes))
    backend, why = choose_backend("auto")
    print(f"Backend: {why}.", file=sys.stderr)
    pictures = arguments.chunks * bundle.manifest.defaults.batch_size
    job = make_job(bundle, [name], pictures, settings_of(backend=backend, num_inference_steps=arguments.steps))
    stages = bench.bench([job], rounds=ROUNDS)
    run = whole_run(job, disk)
    return {
        "machine": {**stages["machine"], "on_gpu": open_backend(job).on_gpu},
        "version": stages["version"],
        "bundle_sha256": bundle.sha256,
        "request": job.request.as_json(),
        "stages": stages["measured"][0],
        "run": run.facts,
        "encode_s": encode_s(run),
        "metadata_s": metadata_s(run.description, job.request.batch_size, disk),
        "pictures_written": WRITTEN,
        "folders_s": written(ImageFolder, run, disk),
        "shards_s": written(lambda folder: WebDataset(folder, "x", per_shard=WRITTEN, done=0, written={}), run, disk),
        "disk_bytes_per_s": large_file(disk),
        "joined_s": joined_s(disk),
    }


def main() -> None:
    """Measure, or read the record with --again, and write the page."""
    parser = script_parser("benchmarks.scripts.scale", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file, nargs="?", default=RECORDS / "scale.json")
    parser.add_argument("page", metavar="PAGE.md", type=new_file, nargs="?", default=SCALE_PAGE)
    parser.add_argument("--again", action="store_true", help="write the page from the record; measure nothing")
    parser.add_argument("--usd-per-hour", type=float, help="price of this machine; without it the page has no price")
    parser.add_argument(
        "--link-gbit", type=float, default=10.0, help="simulated link to the shared file system (default: 10 Gbit/s)"
    )
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--class", dest="class_name", help="class (default: the bundle's first)")
    parser.add_argument("--steps", type=int, help="sampling steps (default: from the bundle)")
    parser.add_argument("--chunks", type=int, default=100, help="chunks of the measured run (default: 100)")
    parser.add_argument("--disk", type=existing_folder, help="folder on the shared disk (default: the record's)")
    arguments = parser.parse_args()
    if arguments.again and not arguments.record.is_file():
        parser.error(f"there is no record {arguments.record}; leave out --again to measure")
    if not arguments.again:
        write_json(arguments.record, measure(arguments))
    record = json.loads(arguments.record.read_text(encoding="utf-8"))
    price = "" if arguments.usd_per_hour is None else f" --usd-per-hour {arguments.usd_per_hour:g}"
    sources = Sources(f"python -m benchmarks.scripts.scale{price}", arguments.record, arguments.page)
    text = page(record, sources, link_gbit=arguments.link_gbit, usd_per_hour=arguments.usd_per_hour)
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_command_line(main)
