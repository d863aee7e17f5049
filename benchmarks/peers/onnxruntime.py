"""The peer ONNX Runtime: diffusers' pipeline with its networks on ONNX Runtime, in float32 on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim

from benchmarks.peers.diffusers_pipeline import Drawing, make_pipeline, system_of
from benchmarks.peers.peer import Work
from benchmarks.rounds import Opened
from engine.errors import CytosynthError
from engine.sampling.schedules import time_features
from exporter.graphs import export_graph, export_unet, frequencies
from exporter.load import MergedModel
from exporter.refiner import Refiner

__all__ = ["OnnxRuntimePeer"]

NAME = "ONNX Runtime float32"
MOST_BYTES = 2**31
"""Largest size of a graph that contains its weights."""


class OnnxRuntimePeer:
    """The networks of one merged folder on ONNX Runtime, as Optimum runs them. The pipeline is made once."""

    def __init__(self, merged: MergedModel, threads: int) -> None:
        self._merged, self._threads = merged, threads
        self._pipeline = cache(self._make_pipeline)

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """Add the system for a part."""
        opened.add(NAME, partial(system_of, "ONNX Runtime", NAME, work, part, self._pipeline))

    def _make_pipeline(self) -> Drawing:
        _expect_one_file(self._merged.unet)
        pipeline = make_pipeline(self._merged, lambda kind: copy.deepcopy(getattr(self._merged, kind)))
        _replace_networks(pipeline, self._threads, self._merged.tokenizer.model_max_length)
        refiner, side = self._merged.refiner, self._merged.unet.config.sample_size
        return Drawing(pipeline, None if refiner is None else _refine(refiner, side, self._threads))


class _Decoder(nn.Module):
    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(latents, return_dict=False)[0]


def _expect_one_file(unet: UNet2DConditionModel) -> None:
    """Raise CytosynthError if a float32 UNet is too large for a graph that contains its weights."""
    size = 4 * sum(weight.numel() for weight in unet.parameters())
    if size >= MOST_BYTES:
        raise CytosynthError(
            "The UNet as one float32 graph",
            found=f"{size / 1e9:.1f} GB",
            expected="less than 2 GB, the limit of such a file",
            fix="compare with the engine on onnxruntime, which keeps weights outside the graph",
        )


def _replace_networks(pipeline: StableDiffusionPipeline, threads: int, tokens: int) -> None:
    """Replace the UNet and the decoder of a pipeline by float32 graphs. tokens: number of tokens of a prompt."""
    unet, vae = pipeline.unet, pipeline.vae
    angular = np.array(frequencies(unet))
    graph = export_unet(copy.deepcopy(unet), (tokens, unet.config.cross_attention_dim))
    evaluate, decode = _session(graph, threads), _session(_decoder_graph(vae, unet.config.sample_size), threads)

    def unet_forward(
        sample: torch.Tensor, timestep: Any, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> tuple[torch.Tensor]:
        inputs = {
            "latents": sample.numpy(),
            "time_features": time_features(np.full(len(sample), float(timestep)), angular),
            "encoder_hidden_states": encoder_hidden_states.numpy(),
        }
        return (torch.from_numpy(evaluate.run(None, inputs)[0]),)

    def vae_decode(latents: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        return (torch.from_numpy(decode.run(None, {"latents": latents.numpy()})[0]),)

    unet.forward, vae.decode = unet_forward, vae_decode


def _refine(
    refiner: Refiner, side: int, threads: int
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the refiner as a float32 graph. side: height of the example latents."""
    sizes = refiner.sizes
    picture_side, noise_side = side * sizes.factor, side * sizes.noise_scale
    example = (
        torch.randn(2, 3, picture_side, picture_side),
        torch.randn(2, sizes.latent_channels, side, side),
        torch.randn(2, sizes.planes, noise_side, noise_side),
    )
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},) * len(example)
    names = ["pictures", "latents", "noise"]
    session = _session(export_graph(refiner, example, shapes, names, ["refined"]), threads)

    def refine(*tensors: torch.Tensor) -> torch.Tensor:
        inputs: dict[str, NDArray[Any]] = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, inputs)[0])

    return refine


def _decoder_graph(vae: AutoencoderKL, side: int) -> onnx.ModelProto:
    example = (torch.randn(2, vae.config.latent_channels, side, side),)
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    return export_graph(_Decoder(vae), example, shapes, ["latents"], ["sample"])


def _session(graph: onnx.ModelProto, threads: int) -> ort.InferenceSession:
    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
