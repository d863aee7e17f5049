"""`engine generate --batch-size auto`: measure a few batch sizes for a short time each."""

from __future__ import annotations

import time

from engine.backends.select import open_backend
from engine.bundle.job import Job
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline

__all__ = ["measure_batch_size"]

FACTORS = (0.5, 1, 2)
"""The sizes to try, as multiples of the batch size of the bundle."""
STEPS = 3


def measure_batch_size(job: Job) -> tuple[int, str]:
    """Return the batch size with the most pictures per second over a few steps and a decode, and the figures in words.

    Raises RequestError if the backend refuses every size.
    """
    request = job.request
    job.bundle.verify_for(request.class_names, request.preset)
    rates: dict[int, float] = {}
    refused: RequestError | None = None
    for size in sorted({max(1, round(factor * request.batch_size)) for factor in FACTORS}):
        short = job.changed(batch_size=size, num_inference_steps=min(STEPS, request.num_inference_steps))
        try:
            backend = open_backend(short)
        except RequestError as error:  # the plans of TensorRT may not allow this size
            refused = error
            continue
        with Pipeline(short, request.class_names[0], backend) as pipeline:
            seeds = list(range(size))
            pipeline.decode(pipeline.generate_latents(seeds), seeds)
            began = time.perf_counter()
            latents = pipeline.generate_latents(seeds)
            denoised = time.perf_counter()
            pipeline.decode(latents, seeds)
            seconds = (
                (denoised - began) / short.request.num_inference_steps * request.num_inference_steps
                + time.perf_counter()
                - denoised
            )
        rates[size] = size / seconds
    if not rates:
        assert refused is not None
        raise refused
    best = max(rates, key=lambda size: rates[size])
    measured = ", ".join(f"{size}: {rate:.2f}" for size, rate in rates.items())
    return best, f"{best}, the fastest of {measured} pictures per second"
