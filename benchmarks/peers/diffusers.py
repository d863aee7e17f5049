"""The peer diffusers: its pipeline in float32 and bfloat16, each eager and compiled."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch

from benchmarks.peers.diffusers_pipeline import Drawing, make_pipeline, system_of
from benchmarks.peers.peer import Work
from benchmarks.rounds import Opened
from engine.errors import RequestError
from exporter.load import MergedModel

__all__ = ["DiffusersPeer"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class DiffusersPeer:
    """The pipelines of one merged folder. Each pipeline is made once."""

    def __init__(self, merged: MergedModel) -> None:
        self._merged = merged
        self._eager, self._compiled = cache(self._make_eager), cache(self._make_compiled)

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """Add the systems for a part.

        This drops the compiled code of earlier parts. Otherwise torch would stop compiling after eight shapes and run
        eagerly without a message.
        """
        torch.compiler.reset()
        pipelines: dict[str, Callable[[], Drawing]]
        pipelines = {f"diffusers {dtype}": partial(self._eager, dtype) for dtype in DTYPES}
        pipelines |= {f"diffusers {dtype} compiled": partial(self._compiled, dtype) for dtype in DTYPES}
        for name, pipeline in pipelines.items():
            opened.add(name, partial(system_of, "diffusers", name, work, part, pipeline))

    def _make_eager(self, dtype: str) -> Drawing:
        def module(kind: str) -> Any:
            # In float32 the pipeline shares the merged modules, because a copy at Stable Diffusion's size takes 4 GB.
            own = getattr(self._merged, kind)
            return own if own.dtype == DTYPES[dtype] else copy.deepcopy(own).to(DTYPES[dtype])

        refiner = self._merged.refiner
        return Drawing(
            make_pipeline(self._merged, module), None if refiner is None else copy.deepcopy(refiner).to(DTYPES[dtype])
        )

    def _make_compiled(self, dtype: str) -> Drawing:
        if shutil.which("g++") is None and shutil.which("clang++") is None:
            raise RequestError("torch.compile", found="no C++ compiler", expected="g++", fix="apt install g++")
        eager = self._eager(dtype)

        def twin(kind: str) -> Any:
            """Return a copy of a module that shares its tensors."""
            module = getattr(eager.pipeline, kind)
            return copy.deepcopy(module, {id(one): one for one in (*module.parameters(), *module.buffers())})

        pipeline = make_pipeline(self._merged, twin)
        pipeline.unet.compile(dynamic=False)
        pipeline.vae.decode = torch.compile(pipeline.vae.decode, dynamic=False)
        return Drawing(pipeline, None if eager.refine is None else torch.compile(eager.refine, dynamic=False))
