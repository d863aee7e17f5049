"""What many workers on one file system take: a simulation of their chunks, and the bounds that it keeps to.

A worker makes chunks of b pictures one after the other; the next begins when the last is made and the one before that
is written, for the engine keeps one finished chunk ahead. All workers write to one server, first come, first served,
which takes s seconds a chunk. The operational laws (Denning and Buzen 1978, ACM Computing Surveys 10(3)) bound the rate
of W workers whose chunks take Z seconds: at most min(W / Z, 1 / s) chunks a second.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Server", "Simulated", "simulate"]


@dataclass(frozen=True)
class Server:
    """A shared file system and the link to it."""

    bytes_per_s: float
    files_per_s: float
    link_bytes_per_s: float

    def seconds(self, size_bytes: float, files: float) -> float:
        """What one write takes: the slowest of the three governs."""
        return max(size_bytes / self.bytes_per_s, files / self.files_per_s, size_bytes / self.link_bytes_per_s)


@dataclass(frozen=True)
class Simulated:
    """What a run took: seconds from the start of all workers to the last write, and the server's busy share."""

    seconds: float
    server_busy: float


def simulate(
    chunks: int, workers: int, chunk_s: Sequence[float], write_s: float, *, start_s: float = 0.0, seed: int = 0
) -> Simulated:
    """Run `chunks` chunks on `workers` workers that all start at once and open their models for start_s seconds.

    chunk_s: measured seconds of a chunk, from which each one's is drawn. Chunks are dealt out as `engine generate
    --shard` does, in ranges of about equal length. write_s: the server's seconds a chunk.
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
