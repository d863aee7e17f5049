"""Measure what the evaluation's figures cost: the time of each computation, and the memory for reading many pictures.

    python -m benchmarks.scripts.figures RECORD.json FOLDER

The script fills FOLDER once with 10,000 pictures of 512 x 512 pixels: 50 pictures of noise, each linked 200 times.
Inception runs on random weights of the published shapes. Its speed and memory do not depend on the weights' values.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.linalg import sqrtm

from benchmarks.arguments import new_file, script_parser
from engine.machine import installed_cores, processor_name
from evaluate.encoders.features import Encoder
from evaluate.metrics.frechet import frechet_distance
from evaluate.metrics.inception_score import inception_score
from evaluate.metrics.kernel import kernel_distance
from evaluate.metrics.manifold import compare_manifolds

N, D, CLASSES = 100, 2048, 1008
TIMES = 15
PICTURES, DISTINCT, SIDE = 10_000, 50, 512
INCEPTION = (64, 256)
"""Numbers of pictures for Inception. It reads only 5 pictures per second on two cores; two numbers give the slope of
its memory."""


def frechet_by_root(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Fréchet distance in the usual way, with the matrix square root of the product of the covariances."""
    covs = [np.cov(sample, rowvar=False) for sample in (first, second)]
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum()
    return float(shift + np.trace(covs[0] + covs[1] - 2 * sqrtm(covs[0] @ covs[1]).real))


def seconds(function: Callable[[], object], times: int = TIMES) -> dict[str, float]:
    """Return median, smallest and largest wall-clock time of a call. A first call is not counted."""
    if times > 1:
        function()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


def draw(folder: Path) -> None:
    """Fill a folder with pictures of noise, the worst case for PNG because noise does not compress."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for place in range(DISTINCT):
        path = folder / f"{place:05d}.png"
        if not path.exists():
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path, compress_level=1)
        for copy in range(place + DISTINCT, PICTURES, DISTINCT):
            link = folder / f"{copy:05d}.png"
            if not link.exists():
                os.link(path, link)


def read(encoder: str, folder: str, count: str) -> None:
    """Compute features of the first `count` pictures and print seconds and peak memory. Runs in its own process."""
    from evaluate.encoders.features import Cyto, features_of
    from evaluate.images import PictureFolder, open_folder

    began = time.perf_counter()
    opened = open_folder(Path(folder)) if int(count) == PICTURES else None
    checked = time.perf_counter()
    files = tuple(sorted(Path(folder).iterdir())[: int(count)])
    pictures = opened or PictureFolder(Path(folder), files, SIDE)
    features = features_of(Cyto() if encoder == "cyto" else random_inception(Path(folder).parent), pictures)
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {"pictures": len(pictures), "check_s": checked - began, "features_s": ended - checked, "peak_bytes": peak}
    print(json.dumps(found | {"kept_bytes": sum(values.nbytes for values in features.values())}))


def random_inception(folder: Path) -> Encoder:
    """Return Inception with random weights."""
    import torch

    from engine.files import sha256_of
    from evaluate.encoders.inception import Inception, weight_shapes
    from evaluate.encoders.inception_weights import ExpectedFile

    path, rng = folder / "random.pth", np.random.default_rng(0)
    if not path.exists():
        shapes = weight_shapes()
        drawn = {name: 0.02 * np.abs(rng.standard_normal(shape, dtype=np.float32)) for name, shape in shapes.items()}
        torch.save({name: torch.from_numpy(values) for name, values in drawn.items()}, path)
    return Inception(path, ExpectedFile(path.stat().st_size, sha256_of(path)))


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.figures", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    asked = parser.parse_args()
    record, folder = asked.record, asked.folder
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, N, D))
    logits = rng.standard_normal((N, CLASSES))
    found = {
        "frechet": seconds(lambda: frechet_distance(first, second)),
        "frechet by the root of a matrix": seconds(lambda: frechet_by_root(first, second), times=1),
        "kernel": seconds(lambda: kernel_distance(first, second)),
        "inception score": seconds(lambda: inception_score(logits, 10)),
        "precision, recall, density, coverage": seconds(lambda: compare_manifolds(first, second)),
    }
    draw(folder)
    reads = {}
    for encoder, count in (("cyto", PICTURES), *(("inception", count) for count in INCEPTION)):
        command = [sys.executable, "-m", "benchmarks.scripts.figures", "--read", encoder, str(folder), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        reads[f"{encoder}, {count} pictures"] = json.loads(done.stdout)
    facts = {
        "machine": {"processor": processor_name(), "threads": installed_cores(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("numpy", "scipy", "openvino", "pillow")},
        "n": N,
        "dimension": D,
        "seconds": found,
        "side": SIDE,
        "reading": reads,
    }
    record.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read(*sys.argv[2:])
    else:
        main()
