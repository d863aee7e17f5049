"""Restore the base and the hypernetworks from which the embedded bundle was made.

    python -m recipes.base_of_bundle BUNDLE OUT [ENCODER]

OUT is a new folder. OUT/base is a base in the diffusers layout on which you can fit your own class. OUT/hypernetworks
has the bundle's hypernetworks. OUT/refined, OUT/matched and OUT/matched_decoder have its refiner, and the LoRA and the
small decoder of its preset `turbo`, and OUT/table the table of its preset `learned`, if the bundle has them. OUT may
serve as the recipe's work folder: the recipe then makes the bundle from these files. The weights have the float16
precision of the bundle. The VAE's encoder of a bundle without one comes from the safetensors file ENCODER, with the
record of its training in the .json file of the same name.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn

from benchmarks.arguments import script_parser
from engine.bundle.folder import Bundle, open_bundle
from engine.errors import RequestError
from engine.terminal import run_command_line
from exporter.graphs import export_decoder, export_encoder, export_text_encoder, export_unet, to_half
from exporter.preset_decoder import stored_refiner
from exporter.refiner import read_refiner
from recipes.preset_of_bundle import initialisers, write_preset, write_trained
from trainer.base.base import Base, digest_of
from trainer.base.jpeg import JpegGrid
from trainer.base.presets import PRESETS
from trainer.base.refiner import REFINER_FILE, Refiner, RefinerSettings, write_refiner
from trainer.base.shipped import read_tokenizer
from trainer.folders import expect_new_folder
from trainer.hypernetwork.files import HypernetworkFile, write_hypernetwork
from trainer.hypernetwork.network import SIDES, Hypernetwork, attention_dimensions, attention_layers
from trainer.training.record import ClassRecord, read_record

ENCODING = ("encoder.", "quant_conv.")
"""Prefixes of the tensors of a VAE's encoder."""


@dataclass(frozen=True)
class Places:
    """Where a graph holds the tensors of a torch module."""

    of_tensors: dict[str, tuple[str, bool]]
    """Maps a tensor's name in the module to its name in the graph, and to whether it is transposed there."""
    shapes: dict[str, tuple[int, ...]]
    """Shapes of all weights of the graph."""


def main() -> None:
    """Parse the command line and restore base and hypernetworks. Raises RequestError."""
    parser = script_parser("recipes.base_of_bundle", __doc__)
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle of the recipe with its record.json")
    parser.add_argument("out", metavar="OUT", type=Path, help="new folder")
    parser.add_argument("encoder", metavar="ENCODER", type=Path, nargs="?", help="safetensors file")
    asked = parser.parse_args()
    restore(asked.bundle, asked.out, asked.encoder)


def restore(bundle: Path, out: Path, encoder: Path | None) -> None:
    """Restore what a bundle was made from into the folders of `out`. Raises RequestError.

    encoder: file of the VAE's encoder, for a bundle that has none.
    """
    expect_new_folder(out)
    opened = open_bundle(str(bundle))
    missing = "no VAE encoder" if encoder is None and opened.manifest.vae_encoder is None else None
    for path in filter(None, (encoder, opened.folder / "record.json")):
        missing = missing if path.is_file() else f"no {path}"
    if missing is not None:
        raise RequestError(
            f"The bundle {bundle}",
            found=missing,
            expected="a bundle made by recipes/cells.sh with record.json, and the encoder of its base",
            fix="use engine/bundles/cells of a complete checkout, or name the encoder's file",
        )
    opened.verify(opened.manifest.files)
    record = json.loads((opened.folder / "record.json").read_text())
    base, places = base_of(opened, record, encoder)
    base.save(out / "base")
    trained = None if encoder is None else read_record(encoder.with_suffix(".json"))
    base_record = {**record["base"], "encoder": trained} if trained else record["base"]
    (out / "base" / "record.json").write_text(json.dumps(base_record, indent=2) + "\n")
    for name, fitted in record["hypernetworks"].items():
        merged = copy.deepcopy(base.unet)
        fill(merged.state_dict(), places, opened.path(opened.manifest.classes[name].unet))
        multiplier = fitted.get("multiplier", 1.0)
        file = HypernetworkFile(
            difference(base.unet, merged, multiplier),
            name,
            fitted["training"]["steps"],
            ClassRecord(**fitted["record"]),
            digest_of(base.unet),
        )
        write_trained(out / "hypernetworks" / f"{name}.safetensors", fitted, partial(write_hypernetwork, file=file))
    if base.refiner is not None and "refining" in record:
        write_trained(out / "refined" / REFINER_FILE, record["refining"], partial(write_refiner, base.refiner))
    if "table" in record:
        (out / "table").mkdir()
        (out / "table/learned.json").write_text(json.dumps(record["table"], indent=2) + "\n")
    if "distillation" in record:
        write_preset(opened, record, base, places.of_tensors, out)
    print(f"The base, the hypernetworks and the networks of presets are in {out}.")


def put_encoder(vae: AutoencoderKL, path: Path) -> None:
    """Load the encoder's weights from a file into an autoencoder. Raises RequestError if names or shapes differ."""
    weights = load_file(path)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in vae.state_dict().items() if name.startswith(ENCODING)}
    if found != wanted:
        names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise RequestError(
            f"The encoder {path}",
            found=f"{len(names)} tensors missing, unknown or of another shape, for example {names[0]}",
            expected="the tensors encoder.* and quant_conv.* of the bundle's base",
            fix="use the encoder file of this base",
        )
    vae.load_state_dict(weights, strict=False)


def base_of(bundle: Bundle, record: dict[str, Any], encoder: Path | None) -> tuple[Base, Places]:
    """Return the base, and the places of the UNet's weights in a class's graph."""
    manifest, prompts = bundle.manifest, bundle.manifest.text_encoder
    assert prompts is not None, "the exporter writes a text encoder into every bundle"
    first = record["base"]
    while "start" in first:
        first = first["start"]
    if first.get("preset") not in PRESETS or "size" not in first:
        raise RequestError(
            f"The record of the bundle {bundle.folder}",
            found="a base without a known preset",
            expected=f"a base made by `trainer pretrain` with one of the presets {', '.join(PRESETS)}",
            fix="use a bundle of such a base",
        )
    preset = PRESETS[first["preset"]]
    tokenizer = read_tokenizer(bundle.path(prompts.tokenizer).read_bytes(), preset.prompt_tokens)
    base = Base.new(preset, tokenizer, first["size"])
    base.refiner = refiner_of(bundle)
    sides = [
        {name: tensor for name, tensor in base.vae.state_dict().items() if name.startswith(prefixes)}
        for prefixes in (("decoder.", "post_quant_conv."), ENCODING)
    ]
    text, unet, side = base.text_encoder, base.unet, base.unet.config.sample_size
    tokens = base.tokenizer.model_max_length
    context = (tokens, unet.config.cross_attention_dim)
    unchanged = next(name for name in manifest.classes if name not in record["hypernetworks"])
    parts = (
        (text.state_dict(), lambda: export_text_encoder(text, tokens), prompts.graph),
        (sides[0], lambda: export_with_refiner(base, side), manifest.decoder[0]),
        (unet.state_dict(), lambda: export_unet(to_half(unet), context), manifest.classes[unchanged].unet),
    )
    if encoder is not None:
        put_encoder(base.vae, encoder)
    elif manifest.vae_encoder is not None:
        pixels = side * manifest.pixels_per_latent
        places = find_places(sides[1], lambda: export_encoder(base.vae, pixels))
        fill(sides[1], places, bundle.path(manifest.vae_encoder[0]))
    for weights, export, graph in parts:
        places = find_places(weights, export)
        fill(weights, places, bundle.path(graph))
    return base, places


def refiner_of(bundle: Bundle) -> Refiner | None:
    """Return the refiner in the decoder graph of a bundle, or None if the decoder has none.

    The graph keeps the names of the refiner's tensors, and their shapes are its settings. Raises RequestError.
    """
    manifest = bundle.manifest
    if manifest.decoder_noise is None:
        return None
    grid = json.loads((bundle.folder / "manifest.json").read_text()).get("decoder_jpeg")
    stored = stored_refiner(bundle).items()
    weights = {name: torch.from_numpy(weight.values().astype(np.float32)) for name, weight in stored}
    convolutions = sum(name.startswith("convs.") and name.endswith(".weight") for name in weights)
    context = weights.get("context_out.weight")
    try:
        settings = RefinerSettings(
            latent_channels=manifest.latent_shape[0],
            factor=2 * manifest.decoder_noise.scale,
            width=len(weights["convs.0.weight"]),
            convolutions=convolutions,
            noise_planes=manifest.decoder_noise.planes - convolutions + 1,
            context_width=0 if context is None else context.shape[1],
            jpeg=None if grid is None else JpegGrid(**grid),
        )
        refiner = Refiner(settings)
        refiner.load_state_dict(weights)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RequestError(
            f"The graph {bundle.path(manifest.decoder[0])}",
            found=f"no complete refiner ({error})",
            expected="the tensors of a refiner, whose values differ",
            fix="use a bundle whose refiner was trained",
        ) from error
    return refiner.eval().requires_grad_(False)


def export_with_refiner(base: Base, side: int) -> onnx.ModelProto:
    """Export the decoder of a base and its refiner, if it has one."""
    if base.refiner is None:
        return export_decoder(base.vae, side)
    with tempfile.TemporaryDirectory() as folder:
        write_refiner(base.refiner, Path(folder) / REFINER_FILE)
        return export_decoder(base.vae, side, read_refiner(Path(folder) / REFINER_FILE))


@torch.no_grad()
def find_places(weights: dict[str, torch.Tensor], export: Callable[[], onnx.ModelProto]) -> Places:
    """Find the place of each of a module's tensors in its graph.

    A graph does not keep the names of a module's tensors. So this function fills the tensors with distinct random
    values, exports the module, and finds each tensor in the export by its content, transposed or not.
    """
    for tensor in weights.values():
        tensor.copy_(torch.randn_like(tensor, dtype=torch.float32).half())
    marked = initialisers(export())
    found = {value.T.astype(np.float32).tobytes(): (name, True) for name, value in marked.items() if value.ndim == 2}
    found |= {value.astype(np.float32).tobytes(): (name, False) for name, value in marked.items()}
    return Places(
        {name: found[tensor.numpy().tobytes()] for name, tensor in weights.items()},
        {name: value.shape for name, value in marked.items()},
    )


@torch.no_grad()
def fill(weights: dict[str, torch.Tensor], places: Places, graph: Path) -> None:
    """Copy the values from a graph into a module's tensors."""
    found = initialisers(onnx.load(graph))
    if {name: value.shape for name, value in found.items()} != places.shapes:
        raise RequestError(
            f"The graph {graph}",
            found="weights with other names or shapes",
            expected=f"the weights that torch {torch.__version__} exports for the base in the record",
            fix="install the versions in constraints.txt",
        )
    for key, tensor in weights.items():
        name, transposed = places.of_tensors[key]
        value = found[name].T if transposed else found[name]
        tensor.copy_(torch.from_numpy(value.astype(np.float32).reshape(tensor.shape)))


@torch.no_grad()
def difference(unet: UNet2DConditionModel, merged: UNet2DConditionModel, multiplier: float) -> Hypernetwork:
    """Return the linear hypernetwork that was merged with this multiplier.

    This is the inverse of trainer.hypernetwork.fold.merge_into, by least squares over all layers of a dimension. The
    bias of K has no effect, so it is zero.
    """
    ours, theirs = dict(attention_layers(unet)), dict(attention_layers(merged))
    hypernetwork = Hypernetwork(attention_dimensions(unet))
    for dimension in hypernetwork.dimensions:
        names = [name for name, layer in ours.items() if layer.to_k.in_features == dimension]
        for side in SIDES:
            before, after = (
                torch.cat([layers[name].get_submodule(f"to_{side}").weight for name in names]).double()
                for layers in (ours, theirs)
            )
            product = torch.linalg.lstsq(before, after - before).solution / multiplier
            stack = hypernetwork.stack(dimension, side)
            assert stack is not None, "the hypernetwork has every dimension"
            first, second = cast(nn.Linear, stack.linear[0]), cast(nn.Linear, stack.linear[1])
            for layer in (first, second):
                layer.weight.zero_()
                layer.bias.zero_()
            first.weight[:dimension] = product
            second.weight[:, :dimension] = torch.eye(dimension)
            if side == "v":
                through = torch.cat(
                    [ours[name].to_out[0].weight.double() @ ours[name].to_v.weight.double() for name in names]
                )
                added = torch.cat([theirs[name].to_out[0].bias - ours[name].to_out[0].bias for name in names])
                second.bias.copy_(torch.linalg.lstsq(through, added.double()[:, None]).solution[:, 0] / multiplier)
    return hypernetwork


if __name__ == "__main__":
    run_command_line(main)
