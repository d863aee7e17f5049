"""Measure what HTTP costs: `engine serve` against the engine as a library, with models that are open on both sides.

    python -m benchmarks.scripts.serving RECORD.json [--bundle cells] [--class CLASS] [--rounds 9] [--requests 2000]

The script starts a server on a free port. In each round it draws one picture over HTTP and one in this process, then 16
pictures by 16 clients at once and one batch of 16 in this process. A picture of the library is encoded as a PNG, too,
as the server does. Then it sends requests for one picture, and reads the server's memory after each tenth of them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.arguments import new_file, script_parser
from engine.api.engine import ChunkMaker, Engine
from engine.machine import processor_name
from engine.output.formats import encode_png
from engine.output.provenance import describe
from engine.version import __version__

CLIENTS = 16
REST_S = 0.3
"""Pause before each timed run, in which the thread pools of the other side come to rest."""


@contextmanager
def served(bundle: str) -> Iterator[tuple[str, int]]:
    """Start a server. Yield its address and the id of its process."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "engine", "serve", "--bundle", bundle, "--port", "0", "--data", data]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            if found is None:
                sys.exit("engine serve did not start")
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait()


def ask(address: str, class_name: str, seed: int) -> float:
    """Return the seconds of a request for one picture."""
    body = {"seed": seed, "override_settings": {"sd_model_checkpoint": class_name}}
    request = urllib.request.Request(  # noqa: S310 - this machine
        f"{address}/sdapi/v1/txt2img", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        content = json.loads(answer.read())
    assert len(content["images"]) == 1
    return time.perf_counter() - began


def ask_at_once(address: str, class_name: str) -> float:
    """Return the seconds until CLIENTS requests, sent at once, are all answered."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        list(pool.map(partial(ask, address, class_name), range(CLIENTS)))
        return time.perf_counter() - began


def drawn(maker: ChunkMaker, description: dict[str, object]) -> float:
    """Return the seconds of a batch in this process, PNG files included."""
    began = time.perf_counter()
    batch = maker.make(0)
    for seed, image in zip(batch.seeds, batch.images, strict=True):
        encode_png(image, {**description, "seed": seed})
    return time.perf_counter() - began


def resident_mb(process: int) -> float:
    """Return the memory of a process in megabytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(asked: argparse.Namespace) -> dict[str, object]:
    """Return all figures."""
    engine = Engine.open(asked.bundle)
    class_name = asked.class_name or engine.class_names[0]
    one, many = (engine.job(class_name, n, batch_size=n) for n in (1, CLIENTS))
    with (
        served(asked.bundle) as (address, process),
        closing(ChunkMaker(one)) as single,
        closing(ChunkMaker(many)) as batch,
    ):
        works: dict[str, Callable[[], float]] = {
            "one picture over HTTP": lambda: ask(address, class_name, 0),
            "one picture by the library": lambda: drawn(single, describe(one, class_name)),
            f"{CLIENTS} clients at once": lambda: ask_at_once(address, class_name),
            f"one batch of {CLIENTS} by the library": lambda: drawn(batch, describe(many, class_name)),
        }
        samples: dict[str, list[float]] = {name: [] for name in works}
        for name, work in [*works.items(), *works.items()]:
            print(f"warm up: {name}", file=sys.stderr)
            work()
        for _ in range(asked.rounds):
            for name, work in works.items():
                time.sleep(REST_S)
                samples[name].append(round(work(), 4))
        memory = [resident_mb(process)]
        for number in range(1, asked.requests + 1):
            ask(address, class_name, number)
            if number % max(1, asked.requests // 10) == 0:
                memory.append(resident_mb(process))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    # Both sides of a ratio are measured in the same round, so that other work on the machine slows down both.
    http, library, clients, at_once = samples.values()
    return {
        "machine": processor_name(),
        "version": __version__,
        "bundle": asked.bundle,
        "class": class_name,
        "median_s": medians,
        "http_costs_percent": round(100 * (_ratio(http, library) - 1), 1),
        "throughput_of_clients_percent": round(100 * _ratio(at_once, clients), 1),
        "requests": asked.requests,
        "resident_mb": [round(value, 1) for value in memory],
        "samples_s": samples,
    }


def _ratio(values: list[float], others: list[float]) -> float:
    """Return the median over the rounds of the ratio of two times."""
    return statistics.median(one / other for one, other in zip(values, others, strict=True))


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.serving", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("--bundle", default="cells")
    parser.add_argument("--class", dest="class_name")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000)
    asked = parser.parse_args()
    found = measure(asked)
    asked.record.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "samples_s"}, indent=1))


if __name__ == "__main__":
    main()
