"""`--batch-size auto`: a few sizes, each measured for a moment."""

from __future__ import annotations

import time
from dataclasses import replace

from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline

__all__ = ["measure_batch_size"]

FACTORS = (0.5, 1, 2)
"""The sizes tried, as multiples of the bundle's own."""
STEPS = 3


def measure_batch_size(bundle: Bundle, request: GenerateRequest) -> tuple[int, str]:
    """The size with the most pictures a second over a few steps and a decode, and the figures in words."""
    bundle.verify_for(request.class_names)
    rates: dict[int, float] = {}
    refused: RequestError | None = None
    for size in sorted({max(1, round(factor * request.batch_size)) for factor in FACTORS}):
        short = replace(request, batch_size=size, num_inference_steps=min(STEPS, request.num_inference_steps))
        try:
            backend = open_backend(bundle, short)
        except RequestError as error:  # TensorRT's plans may be built for smaller ones
            refused = error
            continue
        with Pipeline(bundle, request.class_names[0], short, backend) as pipeline:
            seeds = list(range(size))
            pipeline.decode(pipeline.generate_latents(seeds))
            began = time.perf_counter()
            latents = pipeline.generate_latents(seeds)
            denoised = time.perf_counter()
            pipeline.decode(latents)
            seconds = (
                (denoised - began) / short.num_inference_steps * request.num_inference_steps
                + time.perf_counter()
                - denoised
            )
        rates[size] = size / seconds
    if not rates:
        assert refused is not None
        raise refused
    best = max(rates, key=lambda size: rates[size])
    measured = ", ".join(f"{size}: {rate:.2f}" for size, rate in rates.items())
    return best, f"{best}, the fastest of {measured} pictures a second"
