"""The bundle's graphs as torch modules, and their export to ONNX at opset 23."""

from __future__ import annotations

import copy
import io
import logging
from contextlib import redirect_stdout
from typing import Any, TypeVar

import onnx
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.export import Dim
from transformers import CLIPTextModel

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
    "to_half",
    "without_traces",
]

Module = TypeVar("Module", bound=nn.Module)

OPSET = 23
ROW = ("sigma", "timestep", "c_in", "a", "b", "c", "d", "guidance_scale")
"""The columns of the step graph's `row` input."""


class Float32Norm(nn.Module):
    """A normalisation that is computed in float32 inside a float16 graph."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape, float16 in and out."""
        return self.norm(x.float()).to(x.dtype)


def to_half(module: Module, *, in_place: bool = False) -> Module:
    """The module in float16, its normalisations in float32: a copy, or itself where memory is short."""
    module = (module if in_place else copy.deepcopy(module)).half()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm | nn.LayerNorm):
                setattr(parent, name, Float32Norm(child))
    return module


class UNetGraph(nn.Module):
    """The UNet with its sinusoidal time features as an input.

    latents (B, C, h, w), time_features (B, F), encoder_hidden_states (B, T, D) -> eps (B, C, h, w), all float32.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        # diffusers computes the features from the timestep here; the host has done that in float64.
        unet.get_time_embed = lambda sample, timestep: timestep

    def forward(
        self, latents: torch.Tensor, time_features: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        """One evaluation; the computation's dtype is the UNet's."""
        dtype = self.unet.conv_in.weight.dtype
        inputs = (tensor.to(dtype) for tensor in (latents, time_features, encoder_hidden_states))
        return self.unet(*inputs, return_dict=False)[0].float()


class DecoderGraph(nn.Module):
    """Latents as the UNet leaves them -> pictures.

    latents (B, C, h, w) float32 -> images (B, H, W, 3) uint8 and finite (B,) bool. The picture is
    255 * clamp((x + 1) / 2, 0, 1), truncated.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.decoder, self.post_quant_conv = vae.decoder, vae.post_quant_conv
        self.scaling_factor = vae.config.scaling_factor

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode; the computation's dtype is the decoder's."""
        z = (latents / self.scaling_factor).to(self.post_quant_conv.weight.dtype)
        x = self.decoder(self.post_quant_conv(z)).float()
        # A sum is finite only if every term is, and costs one reduction that every runtime has.
        total = x.abs().sum((1, 2, 3))
        finite = total < torch.inf
        images = 255 * ((x + 1) / 2).clamp(0, 1)
        return images.permute(0, 2, 3, 1).to(torch.uint8), finite


class EncoderGraph(nn.Module):
    """Pictures -> the latents that the UNet knows.

    images (B, 3, H, W) float32 RGB in [-1, 1] -> latents (B, C, h, w) float32: the posterior's mean, scaled.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv
        self.scaling_factor = vae.config.scaling_factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encode; the computation's dtype is the encoder's."""
        moments = self.quant_conv(self.encoder(images.to(self.quant_conv.weight.dtype)))
        return moments.chunk(2, dim=1)[0].float() * self.scaling_factor


class TextGraph(nn.Module):
    """The text encoder: input_ids (B, T) int64 -> hidden_states (B, T, D) float32."""

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Encode; the computation's dtype is the encoder's."""
        return self.text_encoder(input_ids)[0].float()


class StepGraph(nn.Module):
    """Guidance and one row of a sampler's table, for runtimes that keep a trajectory on the device.

    x, eps_cond, eps_uncond, D_prev, z: (B, C, h, w) float32; row: (8,) float32, the columns of ROW.
    Returns x_next and D, (B, C, h, w) float32: eps = eps_uncond + g (eps_cond - eps_uncond), D = x - sigma eps,
    x_next = a x + b D + c D_prev + d z.
    """

    def forward(
        self,
        x: torch.Tensor,
        eps_cond: torch.Tensor,
        eps_uncond: torch.Tensor,
        D_prev: torch.Tensor,  # noqa: N803 - the contract's name
        z: torch.Tensor,
        row: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step."""
        sigma, _, _, a, b, c, d, scale = row.unbind()
        denoised = x - sigma * (eps_uncond + scale * (eps_cond - eps_uncond))
        return a * x + b * denoised + c * D_prev + d * z, denoised


def frequencies(unet: UNet2DConditionModel) -> list[float]:
    """The angular frequencies of the UNet's sinusoidal features: 10000^(-i / (half - freq_shift)), i < half."""
    half = unet.config.block_out_channels[0] // 2
    exponents = torch.arange(half, dtype=torch.float64) / (half - unet.config.freq_shift)
    return (10_000.0**-exponents).tolist()


def export_unet(unet: UNet2DConditionModel, context_shape: tuple[int, int]) -> onnx.ModelProto:
    """The graph of a UNet that `to_half` made, with dynamic batch, height and width."""
    channels, side = unet.config.in_channels, unet.config.sample_size
    inputs = (
        torch.randn(2, channels, side, side),
        torch.randn(2, unet.config.block_out_channels[0]),
        torch.randn(2, *context_shape),
    )
    # diffusers copies at batch 64 and above, which changes no value; a named Dim would refuse that guard.
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    names = ["latents", "time_features", "encoder_hidden_states"]
    return export_graph(UNetGraph(unet), inputs, shapes, names, ["eps"])


def export_decoder(vae: AutoencoderKL, side: int) -> onnx.ModelProto:
    """The decoder in float16; `side` is the height of the example latents."""
    inputs = (torch.randn(2, vae.config.latent_channels, side, side),)
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    return export_graph(DecoderGraph(to_half(vae)), inputs, shapes, ["latents"], ["images", "finite"])


def export_encoder(vae: AutoencoderKL, side: int) -> onnx.ModelProto:
    """The encoder in float16; `side` is the height of the example pictures."""
    inputs = (torch.randn(2, 3, side, side),)
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    return export_graph(EncoderGraph(to_half(vae)), inputs, shapes, ["images"], ["latents"])


def export_text_encoder(text_encoder: CLIPTextModel, tokens: int) -> onnx.ModelProto:
    """The text encoder in float16 for prompts of exactly this many tokens."""
    inputs = (torch.zeros(2, tokens, dtype=torch.int64),)
    return export_graph(TextGraph(to_half(text_encoder)), inputs, ({0: Dim.DYNAMIC},), ["input_ids"], ["hidden_states"])


def export_step(channels: int) -> onnx.ModelProto:
    """The step graph for latents of this many channels."""
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
    """Any module as a graph, weights inside, without notes of where it was made."""
    # It warns of operators of packages that are not needed here; importing torch sets this level anew.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # The exporter prints its progress to stdout, which belongs to our own output.
    with torch.no_grad(), redirect_stdout(io.StringIO()):
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
    """Drop the exporter's notes (source paths and stack traces of this machine), which would also change the bytes,
    and the shapes between nodes, a quarter of the graph, which every runtime infers anew."""
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
