"""Simulation of many workers that share one file system.

A worker makes chunks of b pictures, one after another. It starts a chunk when the previous chunk is made and the chunk
before that is written, because the engine keeps one finished chunk ahead. All workers write to one server, which takes
s seconds per chunk and serves chunks in the order of arrival. The operational laws (Denning and Buzen 1978, ACM
Computing Surveys 10(3)) bound the rate of W workers whose chunks take Z seconds: at most min(W / Z, 1 / s) chunks per
second.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Server", "Simulated", "simulate"]


@dataclass(frozen=True)
class Server:
    """A shared file system and its link."""

    bytes_per_s: float
    files_per_s: float
    link_bytes_per_s: float

    def seconds(self, size_bytes: float, files: float) -> float:
        """Return the seconds of one write: the slowest of disk, files and link decides."""
        return max(size_bytes / self.bytes_per_s, files / self.files_per_s, size_bytes / self.link_bytes_per_s)


@dataclass(frozen=True)
class Simulated:
    """Result of a simulation: seconds from the common start to the last write, and the server's busy share."""

    seconds: float
    server_busy: float


def simulate(
    chunks: int, workers: int, chunk_s: Sequence[float], write_s: float, *, start_s: float = 0.0, seed: int = 0
) -> Simulated:
    """Simulate `chunks` chunks on `workers` workers.

    Args:
        chunks: Number of chunks. They are divided as `engine generate --shard` does, in ranges of about equal length.
        workers: Number of workers. All start at once.
        chunk_s: Measured seconds per chunk; the time of each simulated chunk is drawn from them.
        write_s: The server's seconds per chunk.
        start_s: Seconds that each worker needs to open its models.
        seed: Seed of the drawn times.
    """
    rng = np.random.default_rng(seed)
    left = [chunks * (k + 1) // workers - chunks * k // workers for k in range(workers)]
    times = iter(rng.choice(np.asarray(chunk_s, float), chunks).tolist())
    made = [(start_s + next(times), worker) for worker in range(workers) if left[worker]]
    heapq.heapify(made)
    written = [start_s] * workers
    free = start_s
    while made:
        now, worker = made[0]
        before, free = written[worker], max(free, now) + write_s
        written[worker] = free
        left[worker] -= 1
        if left[worker]:
            heapq.heapreplace(made, (max(now, before) + next(times), worker))
        else:
            heapq.heappop(made)
    return Simulated(free, chunks * write_s / free)
