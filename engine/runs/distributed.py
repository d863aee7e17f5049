"""The production of the chunks of a run on a Ray cluster, with one worker per GPU or per `--threads` cores."""

from __future__ import annotations

import logging
import platform
import socket
import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from engine.backends.base import Backend
from engine.backends.select import open_backend
from engine.bundle.folder import EMBEDDED, open_bundle
from engine.bundle.job import Job
from engine.errors import CytosynthError, RequestError, first_line
from engine.output.chunks import Chunks
from engine.runs.production import ClassWorker, Finished
from engine.version import __version__

__all__ = ["LOCAL", "RayCluster", "open_cluster"]

LOCAL = "local"
"""Address that starts a cluster on this machine for one run."""
AHEAD = 4
"""Number of chunks per worker that may be made before the next chunk to write. It limits the memory."""
LOSSES = 3
"""Number of lost workers after which a chunk fails."""
ANSWER_S = 10
"""Seconds that a cluster may take to answer. Ray itself would wait without limit."""
LOOK_S = 0.5
"""Seconds between two checks for a stop."""


@contextmanager
def open_cluster(address: str, workers: int, threads: int) -> Iterator[RayCluster]:
    """Connect to the Ray cluster at `address` ("auto", host:port, ray://host:port), or start a cluster for "local".

    workers: number of workers, at least 1. Raises RequestError if Ray is not installed, or if nothing answers.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RequestError(
            "--ray",
            found="the package ray is not installed",
            expected="ray",
            fix="pip install 'cytosynth[distributed]'",
        ) from error
    cores = workers * threads if address == LOCAL else None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        ray.init(
            address,
            num_cpus=cores,
            # Ray has no passwords. A cluster for a single run therefore listens to this machine only.
            _node_ip_address="127.0.0.1" if address == LOCAL else None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(
            f"--ray {address}",
            found=first_line(error),
            expected="the address of a running Ray cluster of this version of Ray, auto, or local",
            fix="start one with `ray start --head`, or check the address",
        ) from error
    try:
        yield RayCluster(workers)
    finally:
        ray.shutdown()


class RayCluster:
    """A connection to a cluster. `produce` makes chunks with the same bytes as on one machine."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def produce(
        self, job: Job, chunks: Chunks, first: int, backend: Backend, stop: threading.Event
    ) -> Generator[Finished]:
        """Yield finished chunks as engine.runs.production.produce does.

        The bundle must be embedded, or its folder must have the same path on every machine. A lost worker is replaced
        as soon as the cluster has room, and its chunk goes to the next free worker.

        Raises RequestError if no machine has room for a worker. Raises CytosynthError if a chunk loses LOSSES workers,
        if as many workers are lost before their first chunk, or if a worker has another bundle, engine or runtime.
        """
        options = _options(job.request.threads, backend)
        _expect_room(options)
        # A worker has another working directory, so a relative path would name another folder.
        job = replace(job, bundle=replace(job.bundle, folder=job.bundle.folder.resolve()))
        crew = _Crew(self.workers, options, _Work(job, chunks, _versions(backend)))
        waiting = deque(range(first, chunks.stop))
        finished: dict[int, Finished] = {}
        losses: dict[int | None, int] = {}
        following = first
        while following < chunks.stop and not stop.is_set():
            while waiting and waiting[0] < following + AHEAD * self.workers and crew.has_free():
                crew.give(waiting.popleft())
            for chunk, found in crew.collect():
                if isinstance(found, Finished):
                    assert chunk is not None
                    finished[chunk] = found
                    continue
                losses[chunk] = losses.get(chunk, 0) + 1
                if losses[chunk] >= LOSSES:
                    raise CytosynthError(
                        "The Ray cluster",
                        found=f"{LOSSES} workers lost while they "
                        + ("opened the models" if chunk is None else f"made chunk {chunk}")
                        + f", the last by {first_line(found)}",
                        expected="workers that stay alive",
                        fix="find the reason in Ray's logs (for example memory), then run the same command again",
                    )
                if chunk is not None:
                    waiting.appendleft(chunk)
            while following in finished:
                yield finished.pop(following)
                following += 1


@dataclass(frozen=True)
class _Work:
    """The work that every worker receives."""

    job: Job
    chunks: Chunks
    runtime: str


def _versions(backend: Backend) -> str:
    """Return the versions that must be equal on every machine, so that pictures have equal bytes."""
    return f"cytosynth {__version__}, {backend.version}"


def _expect_room(options: dict[str, int]) -> None:
    """Raise RequestError if no machine is large enough for a worker. Ray itself would wait without limit."""
    import ray

    nodes: Any = ray.nodes  # it has no types
    needed = {name.removeprefix("num_").removesuffix("s").upper(): count for name, count in options.items()}
    machines = [node["Resources"] for node in nodes() if node["Alive"]]
    if not any(all(machine.get(name, 0) >= count for name, count in needed.items()) for machine in machines):
        raise RequestError(
            "--ray",
            found="; ".join(f"{machine.get('CPU', 0):g} CPU, {machine.get('GPU', 0):g} GPU" for machine in machines),
            expected=f"a machine with {', '.join(f'{count} {name}' for name, count in needed.items())} for a worker",
            fix="use fewer --threads, or another cluster",
        )


def _options(threads: int, backend: Backend) -> dict[str, int]:
    """Return the processor cores and GPUs that a worker takes."""
    return {"num_cpus": 1, "num_gpus": 1} if backend.on_gpu else {"num_cpus": threads}


class _Maker:
    """The code that runs in a worker. It holds the models of one class at a time."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._position: int | None = None
        self._worker: ClassWorker | None = None

    def open(self) -> None:
        """Check that this machine has the same bundle and versions. Raises CytosynthError."""
        work = self._work
        folder = work.job.bundle.folder
        bundle = open_bundle(folder.name if folder.parent == EMBEDDED else str(folder))
        job = replace(work.job, bundle=bundle)
        backend = open_backend(job)
        for what, found, expected in (
            ("bundle", bundle.sha256, work.job.bundle.sha256),
            ("runtime", _versions(backend), work.runtime),
        ):
            if found != expected:
                raise CytosynthError(
                    f"The {what} of a worker on {platform.node()}",
                    found=found,
                    expected=expected,
                    fix="install the same versions and the same bundle on every machine",
                )
        bundle.verify_for(job.request.class_names, job.request.preset)
        self._job, self._backend = job, backend

    def make(self, chunk: int) -> Finished:
        """Return a finished chunk."""
        work = self._work
        position = work.chunks.position(chunk)
        if position != self._position:
            if self._worker is not None:
                self._worker.close()
            never = threading.Event()
            self._worker = ClassWorker(self._job, position, work.chunks, self._backend, never)
            self._position = position
        assert self._worker is not None
        with closing(self._worker.produce([chunk])) as produced:
            [finished] = produced
        return finished


class _Crew:
    """The workers of a cluster. Each makes one chunk at a time, so that a lost worker costs one chunk."""

    def __init__(self, size: int, options: dict[str, int], work: _Work) -> None:
        import ray

        self._ray: Any = ray
        self._actor: Any = ray.remote(_Maker).options(**options)
        self._work = ray.put(work)
        self._free: deque[Any] = deque()
        self._busy: dict[Any, tuple[Any, int | None]] = {}
        for _ in range(size):
            self._hire()

    def _hire(self) -> None:
        worker = self._actor.remote(self._work)
        self._busy[worker.open.remote()] = (worker, None)

    def has_free(self) -> bool:
        """Return whether a worker waits for a chunk."""
        return bool(self._free)

    def give(self, chunk: int) -> None:
        """Let a free worker make a chunk."""
        worker = self._free.popleft()
        self._busy[worker.make.remote(chunk)] = (worker, chunk)

    def collect(self) -> Iterator[tuple[int | None, Finished | Exception]]:
        """Wait shortly and yield the results: finished chunks, or the error by which a worker was lost.

        Each result comes with its chunk, which is None for a worker without a chunk. Raises CytosynthError.
        """
        from ray.exceptions import RayError, RayTaskError

        ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=LOOK_S)
        for reference in ready:
            worker, chunk = self._busy.pop(reference)
            try:
                found = self._ray.get(reference)
            except RayTaskError as error:
                cause = error.cause
                if isinstance(cause, CytosynthError):
                    raise cause from error
                raise CytosynthError(
                    "A worker of the Ray cluster",
                    found=f"{type(cause).__name__}: {first_line(cause)}",
                    expected="a chunk of pictures",
                    fix="find the reason in Ray's logs, then run the same command again",
                ) from error
            except RayError as error:
                # The worker may still be alive if only its result was lost.
                self._ray.kill(worker)
                self._hire()
                yield chunk, error
                continue
            self._free.append(worker)
            if chunk is not None:
                yield chunk, found
