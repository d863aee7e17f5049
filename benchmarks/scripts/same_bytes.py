"""Check that two checkouts of the engine make the same pictures and metadata, byte by byte, for 12 requests.

    python -m benchmarks.scripts.same_bytes OLD NEW [--bundle cells] [--n 2] [--steps 3] [--keep FOLDER]

OLD and NEW are paths of `engine` programs, or of Python interpreters in which engine is installed, one per checkout.
The requests cover samplers, schedules, guidance, a preset, seeds, noise generators, prompts, sizes, batch sizes, shards
of a webdataset, pieces that merge-runs joins, several classes, and precisions. Every run uses one thread and OpenVINO.
If only one engine knows the option --shared-noise, it gets this option, because earlier engines always share the noise
between classes. Each engine has its own cache, which is empty at first: on some processors OpenVINO computes slightly
different values with a graph that it has just compiled than with the same graph from its cache.

The script compares all files that the runs write. In run.json it ignores the fields that IGNORED names, and nothing
else. It prints a table, and exits 1 if any file differs or is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import script_parser

__all__ = ["IGNORED", "REQUESTS", "Request", "differences"]

IGNORED = ("seconds", "versions")
"""Fields of run.json that may differ: the duration of the run, and the versions of the software."""
COMMON = ("--threads", "1", "--backend", "openvino")
SHARED_NOISE = "--shared-noise"


@dataclass(frozen=True)
class Request:
    """A request: options of `engine generate`, and the number of pieces that merge-runs joins (0: no pieces).

    The words CLASS, OTHER, N, STEPS and SIZE stand for values that depend on the bundle and the command line.
    """

    name: str
    options: tuple[str, ...]
    pieces: int = 0


F32 = ("--precision", "f32")
ONE = ("--class", "CLASS", "--n", "N", "--steps", "STEPS")
REQUESTS = (
    Request("defaults, f32", (*ONE, *F32)),
    Request("automatic precision", ONE),
    Request("preset fast, int8", ("--class", "CLASS", "--n", "N", "--preset", "fast", "--steps", "STEPS")),
    Request("several classes, seed", ("--class", "CLASS", "--class", "OTHER", *ONE[2:], *F32, "--seed", "123456789")),
    Request("sampler ddim, schedule leading", (*ONE, *F32, "--sampler", "ddim", "--schedule", "leading")),
    Request("sampler euler, no guidance", (*ONE, *F32, "--sampler", "euler", "--guidance-scale", "1")),
    Request(
        "sampler euler_a, exponential, noise nv",
        (*ONE, *F32, "--sampler", "euler_a", "--schedule", "exponential", "--rng", "nv"),
    ),
    Request(
        "guidance interval, batch size 1",
        (*ONE, *F32, "--guidance-scale", "4.5", "--guidance-interval", "0.5", "9", "--batch-size", "1"),
    ),
    Request("prompts", (*ONE, *F32, "--prompt", "neutrophil", "--negative-prompt", "platelet")),
    Request("another size", (*ONE, *F32, "--width", "WIDTH", "--height", "HEIGHT")),
    Request("webdataset shards", (*ONE, *F32, "--format", "webdataset", "--shard-pictures", "1")),
    Request(
        "pieces and merge-runs",
        ("--class", "CLASS", "--class", "OTHER", *ONE[2:], *F32, "--batch-size", "1"),
        pieces=2,
    ),
)


@dataclass(frozen=True)
class Engine:
    """The engine of one checkout: a program or a Python interpreter, the folder of its cache, and further options."""

    program: Path
    cache: Path
    options: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """The words that start the engine."""
        # The path is not resolved, because the interpreter of a virtual environment is a link.
        words = [os.path.abspath(self.program)]
        return [*words, "-m", "engine"] if self.program.name.startswith("python") else words

    def run(self, *words: str) -> str:
        """Run the engine outside every checkout. Return its output. Exit if it fails."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # A narrow help cuts the names of options.
        environment |= {"XDG_CACHE_HOME": str(self.cache), "COLUMNS": "200"}
        command = [*self.command, *words]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        if done.returncode:
            sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def with_equal_noise(engines: dict[str, Engine]) -> dict[str, Engine]:
    """Return the engines with the option that gives all of them the same noise."""
    knowing = [name for name, engine in engines.items() if SHARED_NOISE in engine.run("generate", "--help")]
    if len(knowing) in (0, len(engines)):
        return engines
    return {
        name: replace(engine, options=(SHARED_NOISE,)) if name in knowing else engine
        for name, engine in engines.items()
    }


def values_of(engine: Engine, bundle: str, n: int, steps: int) -> dict[str, str]:
    """Return the values for the words in the requests."""
    facts = json.loads(engine.run("info", bundle, "--json"))
    first, other, *_ = facts["classes"]
    sides = {"WIDTH": str(facts["width"] // 2), "HEIGHT": str(facts["height"])}
    return {"CLASS": first, "OTHER": other, "N": str(n), "STEPS": str(steps), **sides}


def produce(engine: Engine, request: Request, values: dict[str, str], bundle: str, out: Path) -> None:
    """Make the pictures of a request."""
    words = ["generate", "--bundle", bundle, *(values.get(word, word) for word in request.options)]
    words += [*COMMON, *engine.options]
    pieces = [["--shard", f"{number}/{request.pieces}"] for number in range(1, request.pieces + 1)] or [[]]
    for piece in pieces:
        engine.run(*words, *piece, "--out", str(out))
    if request.pieces:
        engine.run("merge-runs", str(out))


def content(path: Path) -> Any:
    """Return what is compared of a file: its bytes, and for run.json its values without the ignored fields."""
    if path.name != "run.json":
        return path.read_bytes()
    return {name: value for name, value in json.loads(path.read_bytes()).items() if name not in IGNORED}


def differences(old: Path, new: Path) -> tuple[int, list[str]]:
    """Return the number of files in the folders, and a line for each file that differs or is missing."""
    files = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (old, new)]
    lines = [f"{path} only in {name}" for path in sorted(files[0] ^ files[1]) for name in _having(path, old, new)]
    lines += [f"{path} differs" for path in sorted(files[0] & files[1]) if content(old / path) != content(new / path)]
    return len(files[0] | files[1]), lines


def _having(path: Path, old: Path, new: Path) -> list[str]:
    return [name for name, root in (("OLD", old), ("NEW", new)) if (root / path).exists()]


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = script_parser("benchmarks.scripts.same_bytes", __doc__)
    parser.add_argument("old", metavar="OLD", type=Path)
    parser.add_argument("new", metavar="NEW", type=Path)
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--n", type=int, default=2, help="pictures per class (default: 2)")
    parser.add_argument("--steps", type=int, default=3, help="sampling steps (default: 3)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the pictures in this new folder")
    asked = parser.parse_args()
    for path in (asked.old, asked.new):
        if not path.is_file():
            parser.error(f"{path} is not a program")
    if asked.keep is not None and asked.keep.exists():
        parser.error(f"{asked.keep} exists already; name a new folder")
    return asked


def main() -> None:
    """Run all requests with both engines and compare the files."""
    asked = parse_arguments()
    bundle = str(Path(asked.bundle).absolute()) if Path(asked.bundle).is_dir() else asked.bundle
    table = Table("request", "files", "result")
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = asked.keep or Path(temporary)
        programs = {"OLD": asked.old, "NEW": asked.new}
        engines = {name: Engine(path, Path(temporary) / f"cache-{name}") for name, path in programs.items()}
        for engine in engines.values():
            engine.cache.mkdir()
        engines = with_equal_noise(engines)
        values = {name: values_of(engine, bundle, asked.n, asked.steps) for name, engine in engines.items()}
        for number, request in enumerate(REQUESTS, start=1):
            print(f"{number}/{len(REQUESTS)} {request.name}", file=sys.stderr, flush=True)
            folders = {name: (root / f"{number:02d}-{name}").absolute() for name in engines}
            for name, engine in engines.items():
                produce(engine, request, values[name], bundle, folders[name])
            count, lines = differences(folders["OLD"], folders["NEW"])
            failed += bool(lines)
            table.add_row(request.name, str(count), "\n".join(lines) or "same bytes")
    console = Console()
    console.print(f"OLD: {' '.join(engines['OLD'].command)}\nNEW: {' '.join(engines['NEW'].command)}", soft_wrap=True)
    console.print(table)
    print(f"Ignored in run.json: {', '.join(IGNORED)}.")
    if failed:
        sys.exit(f"{failed} of {len(REQUESTS)} requests made different files.")
    print(f"All {len(REQUESTS)} requests made the same files.")


if __name__ == "__main__":
    main()
