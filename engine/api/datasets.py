"""Synthetic cells as a map-style data set, for torch's DataLoader and anything else that indexes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.api.engine import Batch, ChunkMaker, Engine, picture_failed
from engine.api.exclusions import read_exclusions
from engine.backends.select import AUTO
from engine.errors import CytosynthError, RequestError
from engine.output.provenance import describe
from engine.pipeline.pipeline import plan_of

__all__ = ["ChunkShuffle", "SyntheticCells", "SyntheticSample"]


class SyntheticSample(NamedTuple):
    """A picture and its class's place, to be unpacked as two; torch's loaders make batches of it that say the same."""

    picture: Any
    label: int

    @property
    def synthetic(self) -> bool:
        """True."""
        return True


class SyntheticCells:
    """`n` pictures of each class, made when they are asked for: `data[i]` is (picture, label), a SyntheticSample.

    A picture is (H, W, 3) uint8 RGB, or what `transform` makes of it; a label is the class's place in `classes`.
    Picture i of a class has seed `seed` + i and is the one that `engine generate` writes. Pictures come in chunks of
    the bundle's batch size; the last `cache_chunks` are kept, so read in order, or in that of ChunkShuffle.
    exclude names a list of pictures to leave out, as `python -m evaluate copies` writes it; the rest close up. options:
    those of engine.bundle.request.make_request. Raises RequestError; `data[i]` raises CytosynthError for a picture that
    stays blank or non-finite.
    """

    synthetic = True

    def __init__(
        self,
        class_names: str | Sequence[str] = "all",
        n: int = 1000,
        *,
        seed: int = 0,
        bundle: str = "cells",
        backend: str = AUTO,
        precision: str | None = None,
        threads: int = 0,
        transform: Callable[[NDArray[np.uint8]], Any] | None = None,
        cache_chunks: int = 4,
        exclude: str | Path | None = None,
        **options: Any,
    ) -> None:
        if cache_chunks < 1:
            raise RequestError("cache_chunks", found=str(cache_chunks), expected="at least 1", fix="change the value")
        engine = Engine.open(bundle, backend=backend, precision=precision, threads=threads)
        names = [class_names] if isinstance(class_names, str) else list(class_names)
        if not names:
            raise RequestError("class_names", found="none", expected="a class, several, or all", fix="name one")
        self.classes = list(engine.class_names) if "all" in names else list(dict.fromkeys(names))
        self._bundle = engine.bundle
        self._requests = [engine.request(name, n, seed=seed, **options) for name in self.classes]
        self._bundle.verify_for(self.classes)
        self.transform, self.cache_chunks = transform, cache_chunks
        self.chunk_size = self._requests[0].batch_size
        excluded = {} if exclude is None else self._excluded(Path(exclude))
        self._places = [
            np.setdiff1d(np.arange(n), [at - seed for at in excluded.get(name, ())]) for name in self.classes
        ]
        if not any(map(len, self._places)):
            raise RequestError(
                "The pictures to leave out", found="all of them", expected="fewer", fix="ask for a larger n"
            )
        self._ends = np.cumsum([len(places) for places in self._places])
        self._process = os.getpid()
        self._makers: dict[int, ChunkMaker] = {}
        self._chunks: OrderedDict[tuple[int, int], Batch] = OrderedDict()

    def _excluded(self, path: Path) -> dict[str, set[int]]:
        plan, scales = plan_of(self._bundle, self._requests[0])
        requests = zip(self.classes, self._requests, strict=True)
        descriptions = {name: describe(self._bundle, one, name, plan.sha256(scales)) for name, one in requests}
        return read_exclusions(path, descriptions)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> SyntheticSample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{index} of {len(self)} pictures")
        index %= len(self)
        label = int(np.searchsorted(self._ends, index, side="right"))
        place = int(self._places[label][index - self._ends[label]])
        chunk, offset = divmod(place, self.chunk_size)
        batch = self._chunk(label, chunk)
        if offset in batch.failures:
            raise picture_failed(batch, offset)
        picture = batch.images[offset].copy()
        return SyntheticSample(picture if self.transform is None else self.transform(picture), label)

    def _chunk(self, label: int, chunk: int) -> Batch:
        if self._process != os.getpid():
            raise CytosynthError(
                "SyntheticCells in a worker process",
                found="a process that was forked: it has its parent's runtime in its memory, but none of its threads",
                expected="one that was spawned, which opens its own",
                fix='DataLoader(..., multiprocessing_context="spawn")',
            )
        key = (label, chunk)
        if key not in self._chunks:
            if label not in self._makers:
                self._makers[label] = ChunkMaker(self._bundle, self._requests[label])
            self._chunks[key] = self._makers[label].make(chunk)
            while len(self._chunks) > self.cache_chunks:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(key)
        return self._chunks[key]

    def _forget(self) -> None:
        self._process, self._makers, self._chunks = os.getpid(), {}, OrderedDict()

    def chunks(self) -> list[NDArray[np.intp]]:
        """The indices of the pictures that are made together."""
        found = []
        for places, end in zip(self._places, self._ends, strict=True):
            breaks = np.flatnonzero(np.diff(places // self.chunk_size)) + 1
            found += np.split(np.arange(end - len(places), end), breaks)
        return found

    def close(self) -> None:
        """Close the models and drop the kept pictures; both come back when they are needed."""
        for maker in self._makers.values():
            maker.close()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        # A worker process opens its own models.
        return {**self.__dict__, "_makers": {}, "_chunks": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._process = os.getpid()


class ChunkShuffle:
    """Indices of a SyntheticCells in random order, for `DataLoader(data, sampler=ChunkShuffle(data))`.

    Chunks are taken at random, as many at a time as the data set keeps, and mixed among themselves: one process makes
    every chunk once an epoch. Several workers share out batches, not chunks, so each makes most of them. The order is
    a function of seed and epoch; set_epoch moves on, as torch's DistributedSampler does.
    """

    def __init__(self, data: SyntheticCells, seed: int = 0) -> None:
        self._data, self._seed, self._epoch = data, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[int]:
        rng, chunks = np.random.default_rng([self._seed, self._epoch]), self._data.chunks()
        order = rng.permutation(len(chunks))
        for window in np.array_split(order, range(self._data.cache_chunks, len(order), self._data.cache_chunks)):
            yield from rng.permutation(np.concatenate([chunks[place] for place in window])).tolist()
