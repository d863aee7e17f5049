"""Making a run's chunks on a Ray cluster: one worker a GPU, or per `--threads` processor cores."""

from __future__ import annotations

import logging
import os
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
from engine.bundle.folder import EMBEDDED, Bundle, open_bundle
from engine.bundle.request import GenerateRequest
from engine.errors import CytosynthError, RequestError, first_line
from engine.output.chunks import Chunks
from engine.output.provenance import own_version
from engine.runs.production import ClassWorker, Finished

__all__ = ["LOCAL", "RayCluster", "open_cluster"]

LOCAL = "local"
"""The address of a cluster that is started on this machine for one run."""
AHEAD = 4
"""Chunks a worker may be ahead of the one that is written next, which bounds what waits in memory."""
LOSSES = 3
"""Workers that one chunk may lose."""
ANSWER_S = 10
"""How long a cluster may take to answer; Ray would try for ever."""
LOOK_S = 0.5
"""How often a stop is looked for."""


@contextmanager
def open_cluster(address: str, workers: int, threads: int) -> Iterator[RayCluster]:
    """Connect to the Ray cluster at `address` ("auto", host:port, ray://host:port), or start one here for "local".

    Raises RequestError where Ray is not installed, where nothing answers, or for a number of workers below 1.
    """
    if workers < 1:
        raise RequestError("--workers", found=str(workers), expected="a number above 0", fix="change the value")
    # Ray reports its use to its makers unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RequestError(
            "--ray", found="no package ray", expected="it to be installed", fix="pip install 'cytosynth[distributed]'"
        ) from error
    cores = workers * threads if address == LOCAL else None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        ray.init(
            address,
            num_cpus=cores,
            # Ray asks nobody for a password, so that one for a single run listens to this machine alone.
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
    """A connection. `produce` makes chunks there, with the bytes that one machine would make."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def produce(
        self,
        bundle: Bundle,
        request: GenerateRequest,
        chunks: Chunks,
        first: int,
        backend: Backend,
        stop: threading.Event,
    ) -> Generator[Finished]:
        """As engine.runs.production.produce. The bundle's folder must be the same on every machine, or an
        embedded one's.

        A worker that is lost is replaced when there is room for another; its chunk goes to the next that is free.
        Raises RequestError where no machine has room for a worker, CytosynthError where a chunk has lost several
        workers, as many were lost before they had one, or a worker's bundle, engine or runtime is another.
        """
        options = _options(request, backend)
        _expect_room(options)
        # A relative path means another folder where a worker runs.
        bundle = replace(bundle, folder=bundle.folder.resolve())
        crew = _Crew(self.workers, options, _Work(bundle, request, chunks, _versions(backend)))
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
                        expected="workers that live",
                        fix="look for the reason in Ray's logs (memory?), then the same command goes on",
                    )
                if chunk is not None:
                    waiting.appendleft(chunk)
            while following in finished:
                yield finished.pop(following)
                following += 1


@dataclass(frozen=True)
class _Work:
    """What a worker is told."""

    bundle: Bundle
    request: GenerateRequest
    chunks: Chunks
    runtime: str


def _versions(backend: Backend) -> str:
    """What must be the same on every machine for the same bytes."""
    return f"cytosynth {own_version()}, {backend.version}"


def _expect_room(options: dict[str, int]) -> None:
    """Ray would wait for ever for a machine that is large enough. Raises RequestError."""
    import ray

    nodes: Any = ray.nodes  # it has no types
    needed = {name.removeprefix("num_").removesuffix("s").upper(): count for name, count in options.items()}
    machines = [node["Resources"] for node in nodes() if node["Alive"]]
    if not any(all(machine.get(name, 0) >= count for name, count in needed.items()) for machine in machines):
        raise RequestError(
            "--ray",
            found="; ".join(f"{machine.get('CPU', 0):g} CPU, {machine.get('GPU', 0):g} GPU" for machine in machines),
            expected=f"a machine with {', '.join(f'{count} {name}' for name, count in needed.items())} for a worker",
            fix="give fewer --threads, or another cluster",
        )


def _options(request: GenerateRequest, backend: Backend) -> dict[str, int]:
    """What a worker takes of the cluster."""
    return {"num_cpus": 1, "num_gpus": 1} if backend.on_gpu else {"num_cpus": request.threads}


class _Maker:
    """What runs in a worker: the models of one class at a time."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._position: int | None = None
        self._worker: ClassWorker | None = None

    def open(self) -> None:
        """Check that this machine has what the run needs. Raises CytosynthError."""
        work = self._work
        folder = work.bundle.folder
        bundle = open_bundle(folder.name if folder.parent == EMBEDDED else str(folder))
        backend = open_backend(bundle, work.request)
        for what, found, expected in (
            ("bundle", bundle.sha256, work.bundle.sha256),
            ("runtime", _versions(backend), work.runtime),
        ):
            if found != expected:
                raise CytosynthError(
                    f"The {what} of a worker on {platform.node()}",
                    found=found,
                    expected=expected,
                    fix="install the same versions, and put the same bundle there, on every machine",
                )
        bundle.verify_for(work.request.class_names)
        self._bundle, self._backend = bundle, backend

    def make(self, chunk: int) -> Finished:
        """One chunk."""
        work = self._work
        position = work.chunks.position(chunk)
        if position != self._position:
            if self._worker is not None:
                self._worker.close()
            never = threading.Event()
            self._worker = ClassWorker(self._bundle, work.request, position, work.chunks, self._backend, never)
            self._position = position
        assert self._worker is not None
        with closing(self._worker.produce([chunk])) as produced:
            [finished] = produced
        return finished


class _Crew:
    """Workers that come, work and are lost; a chunk each at a time, so that a lost one costs no more."""

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
        """Whether a worker waits for a chunk."""
        return bool(self._free)

    def give(self, chunk: int) -> None:
        """Let a free worker make it."""
        worker = self._free.popleft()
        self._busy[worker.make.remote(chunk)] = (worker, chunk)

    def collect(self) -> Iterator[tuple[int | None, Finished | Exception]]:
        """What came back after a short wait: chunks, or the error that a worker was lost by, with its chunk or None
        where it had none yet. Raises CytosynthError."""
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
                    "A worker on the Ray cluster",
                    found=f"{type(cause).__name__}: {first_line(cause)}",
                    expected="a chunk of pictures",
                    fix="look at Ray's logs, then the same command goes on",
                ) from error
            except RayError as error:
                # It may live, where only what it made was lost.
                self._ray.kill(worker)
                self._hire()
                yield chunk, error
                continue
            self._free.append(worker)
            if chunk is not None:
                yield chunk, found
