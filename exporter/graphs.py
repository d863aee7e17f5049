"""The bundle's graphs as torch modules, and their export to ONNX with opset 23."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from contextlib import redirect_stdout
from typing import Any, TypeVar

import onnx
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.export import Dim
from transformers import CLIPTextModel

from exporter.refiner import Refiner
from exporter.reuse import Templates
from exporter.small_decoder import SmallDecoder

__all__ = [
    "DecoderGraph",
    "EncoderGraph",
    "StepGraph",
    "TextGraph",
    "UNetGraph",
    "export_decoder",
    "export_encoder",
    "export_graph",
    "export_step",
    "export_text_encoder",
    "export_unet",
    "frequencies",
    "share_equal",
    "shorten_names",
    "to_half",
    "without_traces",
]

Module = TypeVar("Module", bound=nn.Module)

OPSET = 23
ROW = ("sigma", "timestep", "c_in", "a", "b", "c", "d", "guidance_scale")
"""The columns of the step graph's `row` input."""


class Float32Norm(nn.Module):
    """A normalisation layer that computes in float32 inside a float16 graph."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise a float16 tensor of any shape; return float16."""
        return self.norm(x.float()).to(x.dtype)


def to_half(module: Module, *, in_place: bool = False) -> Module:
    """Return a float16 copy of the module with normalisations in float32. in_place: convert the module itself, to save
    memory."""
    module = (module if in_place else copy.deepcopy(module)).half()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm | nn.LayerNorm):
                setattr(parent, name, Float32Norm(child))
    return module


class UNetGraph(nn.Module):
    """The UNet with sinusoidal time features as an input.

    latents (B, C, h, w), time_features (B, F), encoder_hidden_states (B, T, D) -> eps (B, C, h, w), all float32.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        # diffusers computes the time features here. In a bundle the host computes them in float64 instead.
        unet.get_time_embed = lambda sample, timestep: timestep

    def forward(
        self, latents: torch.Tensor, time_features: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        """Evaluate once, in the UNet's dtype."""
        dtype = self.unet.conv_in.weight.dtype
        inputs = (tensor.to(dtype) for tensor in (latents, time_features, encoder_hidden_states))
        return self.unet(*inputs, return_dict=False)[0].float()


class DecoderGraph(nn.Module):
    """A VAE's decoder or a small decoder: the UNet's latents -> pictures, with grain if there is a refiner.

    latents (B, C, h, w) float32, and with a refiner noise (B, P, H / 2, W / 2) float32 -> images (B, H, W, 3) uint8 and
    finite (B,) bool. A picture is 255 * clamp((x + 1) / 2, 0, 1), truncated.
    """

    def __init__(self, decoder: AutoencoderKL | SmallDecoder, refiner: Refiner | None = None) -> None:
        super().__init__()
        self.small = None
        if isinstance(decoder, SmallDecoder):
            self.small = decoder
        else:
            self.decoder, self.post_quant_conv = decoder.decoder, decoder.post_quant_conv
            self.scaling_factor = decoder.config.scaling_factor
        self.refiner = refiner

    def forward(self, latents: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode in the decoder's dtype."""
        x = (self._by_vae(latents) if self.small is None else self.small(latents)).float()
        if self.refiner is not None:
            x = self.refiner(x, latents, noise)
        # The sum is finite only if every term is finite. It costs one reduction, which every runtime has.
        total = x.abs().sum((1, 2, 3))
        finite = total < torch.inf
        images = 255 * ((x + 1) / 2).clamp(0, 1)
        return images.permute(0, 2, 3, 1).to(torch.uint8), finite

    def _by_vae(self, latents: torch.Tensor) -> torch.Tensor:
        z = (latents / self.scaling_factor).to(self.post_quant_conv.weight.dtype)
        return self.decoder(self.post_quant_conv(z))


class EncoderGraph(nn.Module):
    """The VAE's encoder: pictures -> latents in the UNet's scale.

    images (B, H, W, 3) uint8 RGB -> latents (B, C, h, w) float32: the scaled mean of the posterior.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        self.scaling_factor = vae.config.scaling_factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode in the encoder's dtype."""
        # TensorRT transposes no uint8.
        pixels = (images.float() / 127.5 - 1).permute(0, 3, 1, 2)
        moments = self.quant_conv(self.encoder(pixels.to(self.quant_conv.weight.dtype)))
        return moments.chunk(2, dim=1)[0].float() * self.scaling_factor


class TextGraph(nn.Module):
    """The text encoder: input_ids (B, T) int64 -> hidden_states (B, T, D) float32."""

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Encode in the encoder's dtype."""
        return self.text_encoder(input_ids)[0].float()


class StepGraph(nn.Module):
    """Guidance and one row of a sampler's table, for runtimes that keep the latents on the device.

    x, eps_cond, eps_uncond, D_prev, z: (B, C, h, w) float32; row: (8,) float32 with the columns of ROW.
    Returns x_next and D, (B, C, h, w) float32: eps = eps_uncond + g (eps_cond - eps_uncond), D = x - sigma eps,
    x_next = a x + b D + c D_prev + d z.
    """

    def forward(
        self,
        x: torch.Tensor,
        eps_cond: torch.Tensor,
        eps_uncond: torch.Tensor,
        D_prev: torch.Tensor,  # noqa: N803 - name in the bundle's contract
        z: torch.Tensor,
        row: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute one step."""
        sigma, _, _, a, b, c, d, scale = row.unbind()
        denoised = x - sigma * (eps_uncond + scale * (eps_cond - eps_uncond))
        return a * x + b * denoised + c * D_prev + d * z, denoised


def frequencies(unet: UNet2DConditionModel) -> list[float]:
    """Return the angular frequencies of the UNet's time features: 10000^(-i / (half - freq_shift)) for i < half."""
    half = unet.config.block_out_channels[0] // 2
    exponents = torch.arange(half, dtype=torch.float64) / (half - unet.config.freq_shift)
    return (10_000.0**-exponents).tolist()


def export_unet(
    unet: UNet2DConditionModel, context_shape: tuple[int, int], templates: Templates | None = None
) -> onnx.ModelProto:
    """Export a UNet that `to_half` converted, with dynamic batch size, height and width.

    templates: Take the graph of an earlier UNet of the same structure, and remember this one's.
    """
    channels, side = unet.config.in_channels, unet.config.sample_size
    inputs = (
        torch.randn(2, channels, side, side),
        torch.randn(2, unet.config.block_out_channels[0]),
        torch.randn(2, *context_shape),
    )
    # From batch size 64 diffusers copies a tensor, which changes no value. A named Dim would fail on that guard.
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    names = ["latents", "time_features", "encoder_hidden_states"]
    return (templates or Templates()).export(export_graph, UNetGraph(unet), inputs, shapes, names, ["eps"])


def export_decoder(decoder: AutoencoderKL | SmallDecoder, side: int, refiner: Refiner | None = None) -> onnx.ModelProto:
    """Export a VAE's decoder or a small decoder in float16. side: height of the example latents. With a refiner the
    graph has a second input."""
    channels = (decoder.sizes if isinstance(decoder, SmallDecoder) else decoder.config).latent_channels
    inputs, names = [torch.randn(2, channels, side, side)], ["latents"]
    if refiner is not None:
        noise_side = side * refiner.sizes.noise_scale
        inputs.append(torch.randn(2, refiner.sizes.planes, noise_side, noise_side))
        names.append("noise")
    shapes = tuple({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC} for _ in inputs)
    graph = DecoderGraph(to_half(decoder), None if refiner is None else to_half(refiner))
    return export_graph(graph, tuple(inputs), shapes, names, ["images", "finite"])


def export_encoder(vae: AutoencoderKL, side: int) -> onnx.ModelProto:
    """Export the VAE's encoder in float16. side: height of the example pictures."""
    inputs = (torch.zeros(2, side, side, 3, dtype=torch.uint8),)
    shapes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC},)
    return export_graph(EncoderGraph(to_half(vae)), inputs, shapes, ["images"], ["latents"])


def export_text_encoder(text_encoder: CLIPTextModel, tokens: int) -> onnx.ModelProto:
    """Export the text encoder in float16 for prompts of exactly this many tokens."""
    inputs = (torch.zeros(2, tokens, dtype=torch.int64),)
    return export_graph(TextGraph(to_half(text_encoder)), inputs, ({0: Dim.DYNAMIC},), ["input_ids"], ["hidden_states"])


def export_step(channels: int) -> onnx.ModelProto:
    """Export the step graph for latents with this many channels."""
    tensors = tuple(torch.randn(2, channels, 8, 8) for _ in range(5))
    dynamic = {0: Dim("B"), 2: Dim("h"), 3: Dim("w")}
    names = ["x", "eps_cond", "eps_uncond", "D_prev", "z", "row"]
    return export_graph(StepGraph(), (*tensors, torch.ones(len(ROW))), (*[dynamic] * 5, {}), names, ["x_next", "D"])


def export_graph(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    dynamic_shapes: tuple[dict[int, Any], ...],
    input_names: list[str],
    output_names: list[str],
) -> onnx.ModelProto:
    """Export a module as a graph that contains its weights and no traces of this machine."""
    # The exporter warns about operators of packages that are not needed here. Importing torch resets this level.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # The exporter prints its progress to stdout, which is reserved for the program's output. It copies an object of its
    # own that torch is about to replace, and torch warns of that.
    with torch.no_grad(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=input_names,
            output_names=output_names,
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    assert program is not None, "torch.onnx.export returns a program when no file is named"
    return without_traces(program.model_proto)


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's notes and the shapes between nodes from a graph, and return the graph.

    The notes are source paths and stack traces of this machine, which would change the bytes. The shapes are a quarter
    of the graph, and every runtime infers them again.
    """
    del model.metadata_props[:]
    model.producer_version = ""
    parts = [model.graph, *model.functions]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
        del part.value_info[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    return model


def share_equal(model: onnx.ModelProto) -> None:
    """Keep one of the equal initialisers inside a graph: a third of an 8-bit graph are zeros of its scales."""
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    names: dict[str, str] = {}
    for tensor in list(model.graph.initializer):
        if not tensor.external_data and tensor.HasField("raw_data"):
            first = kept.setdefault((tensor.data_type, tuple(tensor.dims), tensor.raw_data), tensor.name)
            if first != tensor.name:
                names[tensor.name] = first
                model.graph.initializer.remove(tensor)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def shorten_names(model: onnx.ModelProto) -> None:
    """Replace the names of inner tensors by numbers, because these names take a third of the graph."""
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"{len(names):x}")

    for node in graph.node:
        node.name = ""
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
