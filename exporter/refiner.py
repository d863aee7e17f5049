"""The refiner of a merged folder: the part of the decoder graph that turns noise into grain.

The trainer writes the file (see the glossary in docs/reference). Its tensors are weights and biases of the convolutions
`convs.<i>`, the strengths `strengths.<i>` of the noise behind all of them except the last, for a refiner with a context
branch the convolutions `context.<i>` and `context_out`, and for one that draws the blocks of JPEG `jpeg.steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from exporter.jpeg import BLOCK, Jpeg, JpegGrid
from exporter.network_files import read_network

__all__ = ["REFINER_FILE", "Refiner", "Sizes", "read_refiner"]

REFINER_FILE = "refiner.safetensors"
FORMAT = "cytosynth refiner 1"
POOLED_PLANES, WHOLE_PLANES = 4, 4
CONTEXT_LAYERS = 3
MOST = 4096


@dataclass(frozen=True)
class Sizes:
    """The settings in the file."""

    latent_channels: int
    factor: int
    """Pixels per latent pixel."""
    width: int
    convolutions: int
    noise_planes: int
    """Planes beside the picture. Each convolution except the last adds a plane."""
    context_width: int
    """0 for a refiner without a context branch."""
    jpeg: JpegGrid | None
    """None for pictures without the blocks of JPEG."""

    @property
    def planes(self) -> int:
        """All noise planes of a picture."""
        return self.noise_planes + self.convolutions - 1

    @property
    def noise_scale(self) -> int:
        """Side of the noise relative to the latents: half of the picture's."""
        return self.factor // 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of the file, by its name."""
        last = self.convolutions - 1
        found: dict[str, tuple[int, ...]] = {}

        def convolution(name: str, inputs: int, outputs: int, side: int = 3) -> None:
            found[f"{name}.weight"], found[f"{name}.bias"] = (outputs, inputs, side, side), (outputs,)

        for i in range(self.convolutions):
            inputs = self.width if i else 12 + self.noise_planes + self.latent_channels
            convolution(f"convs.{i}", inputs, 12 if i == last else self.width)
            if i < last:
                found[f"strengths.{i}"] = (1, self.width, 1, 1)
        if self.context_width:
            seen = self.latent_channels + 3 * self.factor**2 + POOLED_PLANES + WHOLE_PLANES
            for i in range(CONTEXT_LAYERS):
                convolution(f"context.{i}", self.context_width if i else seen, self.context_width)
            convolution("context_out", self.context_width, self.width, 1)
        if self.jpeg is not None:
            found["jpeg.steps"] = (3, BLOCK, BLOCK)
        return found


class Refiner(nn.Module):
    """Pictures (B, 3, H, W) float32 in [-1, 1], latents (B, C, h, w) in the UNet's scale and standard normal noise
    (B, planes, H / 2, W / 2) -> pictures with grain, float32, not clipped.

    Convolutions compute in the dtype of the weights. The picture itself stays in float32.
    """

    def __init__(self, sizes: Sizes, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.sizes = sizes

        def convolution(name: str) -> nn.Conv2d:
            weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            side = weight.shape[-1]
            made = nn.Conv2d(weight.shape[1], weight.shape[0], side, padding=side // 2)
            made.load_state_dict({"weight": weight, "bias": bias})
            return made

        self.convs = nn.ModuleList(convolution(f"convs.{i}") for i in range(sizes.convolutions))
        self.strengths = nn.ParameterList(tensors[f"strengths.{i}"] for i in range(sizes.convolutions - 1))
        names = [f"context.{i}" for i in range(CONTEXT_LAYERS)] if sizes.context_width else []
        self.context = nn.ModuleList(map(convolution, names))
        self.context_out = convolution("context_out") if names else None
        self.jpeg = None if sizes.jpeg is None else Jpeg(sizes.jpeg, tensors["jpeg.steps"])
        self.enlarge = nn.Upsample(scale_factor=float(sizes.noise_scale), mode="bilinear", align_corners=False)

    def forward(self, pictures: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Add grain."""
        dtype, planes = self.strengths[0].dtype, self.sizes.noise_planes
        seen, z = pictures.to(dtype), latents.to(dtype)
        beside, *behind = noise.to(dtype).split([planes, *[1] * len(self.strengths)], 1)
        h = torch.cat([nn.functional.pixel_unshuffle(seen, 2), beside, self.enlarge(z)], 1)
        for i, (strength, plane) in enumerate(zip(self.strengths, behind, strict=True)):
            h = self.convs[i](h) + strength * plane
            if i == 0 and self.context_out is not None:
                h = h + self.enlarge(self.context_out(self._context(seen, z, self._averages(noise).to(dtype))))
            h = h.relu()
        refined = pictures + nn.functional.pixel_shuffle(self.convs[-1](h), 2).float()
        return refined if self.jpeg is None else self.jpeg(refined)

    def _averages(self, noise: torch.Tensor) -> torch.Tensor:
        """Return (B, POOLED_PLANES + WHOLE_PLANES, h, w) with deviation 1: averages at the size of the latents, and
        over the whole picture. Computed in the noise's float32, because a float16 sum over a picture overflows."""
        scale = self.sizes.noise_scale
        # The mean of n standard normal values has deviation 1 / sqrt(n).
        pooled = nn.functional.avg_pool2d(noise[:, :POOLED_PLANES], scale) * scale
        whole = noise[:, POOLED_PLANES : POOLED_PLANES + WHOLE_PLANES]
        values = torch.ones_like(whole[:1, :1]).sum()
        whole = whole.mean((2, 3), keepdim=True) * values.sqrt()
        return torch.cat([pooled, whole.expand_as(pooled)], 1)

    def _context(self, pictures: torch.Tensor, latents: torch.Tensor, averages: torch.Tensor) -> torch.Tensor:
        """Return (B, context_width, h, w). averages: what _averages returns, in the dtype of the latents."""
        h = torch.cat([latents, nn.functional.pixel_unshuffle(pictures, self.sizes.factor), averages], 1)
        for convolution in self.context:
            h = convolution(h).relu()
        return h


def read_refiner(path: Path) -> Refiner:
    """Return the refiner in a file. Raises RequestError unless the file has exactly the tensors of its settings."""

    def build(settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Refiner:
        sizes = _sizes(settings)
        found, wanted = {name: tuple(tensor.shape) for name, tensor in tensors.items()}, sizes.shapes()
        if wrong := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
            name = wrong[0]
            raise ValueError(f"{name} {found.get(name, 'is missing')}, expected {wanted.get(name, 'no such tensor')}")
        if "jpeg.steps" in tensors and tensors["jpeg.steps"].min() < 1:
            raise ValueError("steps of JPEG below 1")
        return Refiner(sizes, {name: tensor.float() for name, tensor in tensors.items()})

    fix = "merge again with `python -m trainer merge` from a base with a complete refiner"
    return read_network(path, FORMAT, build, subject="The refiner", fix=fix)


def _sizes(settings: dict[str, Any]) -> Sizes:
    """Return checked sizes. Raises ValueError, KeyError or TypeError."""
    jpeg = settings.get("jpeg")
    names = ("latent_channels", "factor", "width", "convolutions", "noise_planes", "context_width")
    numbers = {name: settings[name] for name in names}
    least = {"convolutions": 2, "factor": 2, "context_width": 0}
    for name, value in numbers.items():
        if type(value) is not int or not least.get(name, 1) <= value <= MOST:
            raise ValueError(f"{name} {value!r}")
    sizes = Sizes(**numbers, jpeg=None if jpeg is None else JpegGrid.from_json(jpeg))
    if sizes.factor % 2 or (sizes.context_width and sizes.noise_planes < POOLED_PLANES + WHOLE_PLANES):
        raise ValueError(f"factor {sizes.factor}, {sizes.noise_planes} noise planes")
    return sizes
