"""Open models: a bounded number of pipelines, and below them the graphs that they share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from engine.backends.kept import KeptBackend
from engine.backends.select import open_backend
from engine.bundle.job import Job
from engine.pipeline.pipeline import Pipeline

__all__ = ["Models", "equal_settings"]

GRAPHS_PER_MODEL = 4
"""A model has an encoder, a decoder, and a UNet for guided and for unguided steps."""


def equal_settings(job: Job) -> object:
    """Return what is equal for two jobs whose pictures can be drawn by one pipeline, in one batch."""
    # Variations have the seed of their request, from which their own seeds are counted.
    seed = 0 if job.request.variation is None else job.request.seed
    return job.bundle.sha256, replace(job.request, seed=seed, counts=())


class Models:
    """Opens pipelines and keeps the latest ones. All calls must come from one thread at a time.

    A pipeline belongs to its settings: prompts, steps, size. Pipelines of one class share its graphs, so that a new
    prompt does not load the model again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._backends: dict[object, KeptBackend] = {}
        self._pipelines: OrderedDict[object, Pipeline] = OrderedDict()
        self._intact: set[tuple[str, str, str | None]] = set()

    @contextmanager
    def pipeline(self, job: Job) -> Iterator[Pipeline]:
        """Yield the pipeline of a job's class. Raises RequestError if a file of the bundle was changed."""
        class_name = job.request.class_names[0]
        self._verify(job, class_name)
        if job.initial is not None:
            # The pipeline holds the initial pictures of its job.
            with Pipeline(job, class_name, self.backend(job)) as pipeline:
                yield pipeline
            return
        key = equal_settings(job)
        if key not in self._pipelines:
            while len(self._pipelines) >= self._most:
                self._pipelines.popitem(last=False)[1].close()
            self._pipelines[key] = Pipeline(job, class_name, self.backend(job))
        self._pipelines.move_to_end(key)
        yield self._pipelines[key]

    def close(self) -> None:
        """Close everything."""
        while self._pipelines:
            self._pipelines.popitem()[1].close()
        while self._backends:
            self._backends.popitem()[1].close()

    def _verify(self, job: Job, class_name: str) -> None:
        """Check the files of a class before it is opened first."""
        preset = job.request.preset
        if (job.bundle.sha256, class_name, preset) not in self._intact:
            job.bundle.verify_for([class_name], preset)
            self._intact.add((job.bundle.sha256, class_name, preset))

    def backend(self, job: Job) -> KeptBackend:
        """Return the backend of a job, which shares its graphs with the pipelines. Only `close` closes it."""
        request = job.request
        key: tuple[Any, ...] = (request.backend, request.precision, request.threads)
        if request.backend == "tensorrt":
            # Its plans are chosen for the sizes and the preset of a job.
            key = (*key, job.bundle.sha256, request.preset, request.width, request.height, request.batch_size)
        if key not in self._backends:
            self._backends[key] = KeptBackend(open_backend(job), GRAPHS_PER_MODEL * self._most)
        return self._backends[key]
