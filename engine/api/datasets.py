"""Synthetic cells as a map-style data set, for torch's DataLoader and everything else that reads by index."""

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
from engine.errors import CytosynthError, RequestError
from engine.output.provenance import describe

__all__ = ["ChunkShuffle", "SyntheticCells", "SyntheticSample"]


class SyntheticSample(NamedTuple):
    """A picture and its label, which unpacks as two values. Batches that torch's loaders make of samples keep
    `synthetic`."""

    picture: Any
    label: int

    @property
    def synthetic(self) -> bool:
        """Whether the picture is synthetic, which is always True."""
        return True


HARDWARE = ("backend", "precision", "threads")
"""The options of Engine.open."""


class SyntheticCells:
    """A data set of n pictures per class, made when they are read: `data[i]` is (picture, label), a SyntheticSample.

    A picture is (H, W, 3) uint8 RGB, or what `transform` returns for it. A label is the index of the class in
    `classes`. Picture i of a class has seed `seed` + i and equals the one that `engine generate` writes. Pictures are
    made in chunks of the bundle's batch size, and the last `cache_chunks` chunks are kept. So read the data set in
    order, or in the order of ChunkShuffle.

    `data[i]` raises CytosynthError for a picture that stays blank or non-finite.
    """

    synthetic = True

    def __init__(
        self,
        class_names: str | Sequence[str] = "all",
        n: int = 1000,
        *,
        seed: int = 0,
        bundle: str = "cells",
        transform: Callable[[NDArray[np.uint8]], Any] | None = None,
        cache_chunks: int = 4,
        exclude: str | Path | None = None,
        **options: Any,
    ) -> None:
        """Check the request; nothing is made yet.

        Args:
            class_names: One class, several classes, or "all".
            n: Number of pictures per class.
            seed: Seed of the first picture of each class.
            bundle: Name of an embedded bundle, or path of a bundle's folder.
            transform: Function applied to each picture.
            cache_chunks: Number of chunks to keep in memory.
            exclude: List of pictures to leave out, as `python -m evaluate copies` writes it. The remaining pictures
                are numbered without gaps.
            options: The options of Engine.open (`backend`, `precision`, `threads`) and of Engine.generate.

        Raises RequestError.
        """
        if cache_chunks < 1:
            raise RequestError("cache_chunks", found=str(cache_chunks), expected="at least 1", fix="change the value")
        engine = Engine.open(bundle, **{name: options.pop(name) for name in HARDWARE if name in options})
        names = [class_names] if isinstance(class_names, str) else list(class_names)
        if not names:
            expected = "a class, several classes, or all"
            raise RequestError("class_names", found="none", expected=expected, fix="name a class")
        self.classes = list(engine.class_names) if "all" in names else list(dict.fromkeys(names))
        self._jobs = [engine.job(name, n, seed=seed, **options) for name in self.classes]
        engine.bundle.verify_for(self.classes, self._jobs[0].request.preset)
        self.transform, self.cache_chunks = transform, cache_chunks
        self.chunk_size = self._jobs[0].request.batch_size
        excluded = {} if exclude is None else self._excluded(Path(exclude))
        self._places = [
            np.setdiff1d(np.arange(n), [at - seed for at in excluded.get(name, ())]) for name in self.classes
        ]
        if not any(map(len, self._places)):
            raise RequestError(
                "The pictures to leave out", found="all pictures", expected="fewer", fix="ask for a larger n"
            )
        self._ends = np.cumsum([len(places) for places in self._places])
        self._process = os.getpid()
        self._makers: dict[int, ChunkMaker] = {}
        self._chunks: OrderedDict[tuple[int, int], Batch] = OrderedDict()

    def _excluded(self, path: Path) -> dict[str, set[int]]:
        jobs = zip(self.classes, self._jobs, strict=True)
        return read_exclusions(path, {name: describe(job, name) for name, job in jobs})

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
                found="a forked process, which has the memory of its parent's runtime but none of its threads",
                expected="a spawned process, which opens its own runtime",
                fix='use DataLoader(..., multiprocessing_context="spawn")',
            )
        key = (label, chunk)
        if key not in self._chunks:
            if label not in self._makers:
                self._makers[label] = ChunkMaker(self._jobs[label])
            self._chunks[key] = self._makers[label].make(chunk)
            while len(self._chunks) > self.cache_chunks:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(key)
        return self._chunks[key]

    def _forget(self) -> None:
        self._process, self._makers, self._chunks = os.getpid(), {}, OrderedDict()

    def chunks(self) -> list[NDArray[np.intp]]:
        """Return the indices of the pictures that are made together, one array per chunk."""
        found = []
        for places, end in zip(self._places, self._ends, strict=True):
            breaks = np.flatnonzero(np.diff(places // self.chunk_size)) + 1
            found += np.split(np.arange(end - len(places), end), breaks)
        return found

    def close(self) -> None:
        """Close the models and drop the kept pictures. Reading a picture opens the models again."""
        for maker in self._makers.values():
            maker.close()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        # A worker process opens its own models, so models and pictures are not pickled.
        return {**self.__dict__, "_makers": {}, "_chunks": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._process = os.getpid()


class ChunkShuffle:
    """Indices of a SyntheticCells in random order, for `DataLoader(data, sampler=ChunkShuffle(data))`.

    The sampler takes random chunks, as many as the data set keeps, and shuffles their pictures. A single process
    therefore makes every chunk once per epoch. Several workers of a loader distribute batches, not chunks, so that each
    worker makes most of the chunks. The order depends on seed and epoch; call set_epoch before each epoch, as for
    torch's DistributedSampler.
    """

    def __init__(self, data: SyntheticCells, seed: int = 0) -> None:
        self._data, self._seed, self._epoch = data, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Select the order of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[int]:
        rng, chunks = np.random.default_rng([self._seed, self._epoch]), self._data.chunks()
        order = rng.permutation(len(chunks))
        for window in np.array_split(order, range(self._data.cache_chunks, len(order), self._data.cache_chunks)):
            yield from rng.permutation(np.concatenate([chunks[place] for place in window])).tolist()
