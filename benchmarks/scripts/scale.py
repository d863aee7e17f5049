"""What a million cells cost: measures this machine, simulates up to 1,000 of it, and writes a record and a page.

    python -m benchmarks.scripts.scale docs/benchmarks/scale.json docs/scale.md [--usd-per-hour RATE]
    python -m benchmarks.scripts.scale docs/benchmarks/scale.json docs/scale.md --again     # the page from the record

RATE is the price of an hour of this machine. --disk names a folder of the file system that would be shared; by default
the record's own.
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
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.pages.scale_page import page
from benchmarks.scripts import merge_runs
from engine.backends.select import choose_backend, open_backend
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.files import write_json
from engine.measure import bench
from engine.output.chunks import Chunks
from engine.output.formats import ImageFolder, PictureWriter, WebDataset, encode_png, make_output
from engine.output.journal import METADATA, Journal
from engine.runs.generate import generate

WRITTEN, LARGE_BYTES, ROUNDS = 4000, 2**29, 5


@contextmanager
def folder_in(root: Path) -> Iterator[Path]:
    """An empty folder there, for as long as the block runs."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        yield Path(folder)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True)
class WholeRun:
    """The facts of a run, and some of its PNG files with the description of one."""

    facts: dict[str, Any]
    pngs: list[bytes]
    description: dict[str, Any]


def whole_run(bundle: Bundle, request: GenerateRequest, disk: Path) -> WholeRun:
    """One run as users start it: seconds between chunks, raw, without the first; processor time and bytes a picture."""
    marks: list[tuple[int, float, float]] = []
    with folder_in(disk) as folder:
        out = folder / "out"
        output = make_output(out, "imagefolder", request.width, request.height, overwrite=False)
        generate(
            bundle,
            request,
            output,
            progress=lambda done, total, name: marks.append((done, time.perf_counter(), time.process_time())),
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
    """Seconds of each round for WRITTEN pictures, until the medium has them all."""

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
            rounds.append(seconds(lambda folder=folder: write(folder)))
    return rounds


def large_file(disk: Path) -> list[float]:
    """Bytes a second of each round for one file of LARGE_BYTES that compresses badly, flushed."""
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
            rates.append(LARGE_BYTES / seconds(lambda folder=folder: write(folder / "large")))
    return rates


def metadata_s(description: dict[str, Any], batch_size: int, disk: Path) -> float:
    """Seconds a picture of its line in metadata.jsonl."""
    with folder_in(disk) as folder:
        chunks = Chunks([WRITTEN], batch_size)
        journal = Journal(folder / "out", {"class_names": ["a"]}, chunks)
        journal.start()
        row = {"file_name": "a/000000.png", **description}
        found = seconds(lambda: [journal.append([row] * batch_size, []) for _ in range(chunks.count)])
        journal.close()
    return found / WRITTEN


def joined_s(disk: Path) -> float:
    """Seconds a picture of merge-runs for folders."""
    with folder_in(disk) as folder:
        pictures = 2 * WRITTEN
        merge_runs.lay_down(folder / "out", WRITTEN)
        return seconds(lambda: merge_runs.merge_runs(folder / "out")) / pictures


def encode_s(run: WholeRun) -> list[float]:
    """Seconds a picture of each round of encoding PNG."""
    images = [np.asarray(Image.open(io.BytesIO(png))) for png in run.pngs]
    return [
        seconds(lambda: [encode_png(image, run.description) for image in images]) / len(images) for _ in range(ROUNDS)
    ]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    bundle, disk = open_bundle(arguments.bundle), arguments.disk or arguments.record.resolve().parent
    name = arguments.class_name or next(iter(bundle.manifest.classes))
    backend, why = choose_backend("auto", "auto", bundle)
    print(f"Backend: {why}.", file=sys.stderr)
    request = make_request(
        bundle.manifest,
        class_names=[name],
        n=arguments.chunks * bundle.manifest.defaults.batch_size,
        backend=backend,
        num_inference_steps=arguments.steps,
    )
    stages = bench.bench(bundle, [request], rounds=ROUNDS)
    run = whole_run(bundle, request, disk)
    return {
        "machine": {**stages["machine"], "on_gpu": open_backend(bundle, request).on_gpu},
        "version": stages["version"],
        "bundle_sha256": bundle.sha256,
        "request": request.as_json(),
        "stages": stages["measured"][0],
        "run": run.facts,
        "encode_s": encode_s(run),
        "metadata_s": metadata_s(run.description, request.batch_size, disk),
        "pictures_written": WRITTEN,
        "folders_s": written(ImageFolder, run, disk),
        "shards_s": written(lambda folder: WebDataset(folder, "x", per_shard=WRITTEN, done=0, written={}), run, disk),
        "disk_bytes_per_s": large_file(disk),
        "joined_s": joined_s(disk),
    }


def main() -> None:
    """Measure, unless the record is there and will do, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--again", action="store_true", help="write the page from the record; measure nothing")
    parser.add_argument("--usd-per-hour", type=float, help="of this machine; without it there is no price")
    parser.add_argument("--link-gbit", type=float, default=10.0, help="of the shared file system, simulated")
    parser.add_argument("--bundle", default="cells")
    parser.add_argument("--class", dest="class_name")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--chunks", type=int, default=100, help="of the measured run")
    parser.add_argument("--disk", type=Path)
    arguments = parser.parse_args()
    if not arguments.again:
        write_json(arguments.record, measure(arguments))
    record = json.loads(arguments.record.read_text(encoding="utf-8"))
    text = page(record, link_gbit=arguments.link_gbit, usd_per_hour=arguments.usd_per_hour)
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
