"""Measure whether reused deep features are better than fewer steps of equal cost (DeepCache, arXiv:2312.00858).

    python -m benchmarks.scripts.deep_features RECORD.json MERGED... [--bundle cells] [--steps 20] [--pictures 8]

MERGED are merged folders of the bundle's classes. torch draws with each class in the engine's loop. Every k-th
evaluation is whole; the others compute only the outermost layers, and take the features below from the last whole one
(Ma et al. 2023). Costs are operations of the UNet, in whole evaluations of one row. Errors are relative L2 norms of the
final latents against those of many steps and those of the whole `--steps` steps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.arguments import existing_folder, new_file, numbers, script_parser
from engine.backends.base import Arrays, Signature
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.files import write_json
from engine.machine import machine_facts
from engine.pipeline.pipeline import Denoiser
from engine.terminal import run_command_line
from exporter.load import MergedModel, load_merged
from exporter.parity import relative_l2
from exporter.recording import Function, Recorder
from trainer.base.stable_diffusion import UNET

EXACT_STEPS = 100
"""Steps of the latents that count as exact."""


class ReusedUNet:
    """A UNet of time features whose deep features are reused.

    every: number of evaluations of which one is whole. layers: number of the outermost layers that are always computed.
    """

    def __init__(self, unet: UNet2DConditionModel, every: int = 1, layers: int = 1) -> None:
        unet.get_time_embed = lambda sample, timestep: timestep
        self.unet, self.every, self.layers = unet, every, layers
        self.deep: torch.Tensor | None = None
        self._until_whole = 0
        self.rows = {"whole": 0, "reused": 0}
        self._hook = unet.up_blocks[-1].resnets[-layers].register_forward_pre_hook(self._keep)

    def close(self) -> None:
        """Leave the UNet as it was."""
        self._hook.remove()

    def _keep(self, _: object, arguments: tuple[torch.Tensor, ...]) -> None:
        """Keep the features that come from below: the first channels of the layer's input."""
        self.deep = arguments[0][:, : -self.unet.config.block_out_channels[0]]

    def __call__(self, latents: torch.Tensor, features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return eps (B, C, h, w), whole or with reused features. Rows without kept features are evaluated wholly."""
        rows = len(latents)
        whole = self._until_whole == 0 or self.deep is None or len(self.deep) < rows
        self._until_whole = self.every - 1 if whole else self._until_whole - 1
        self.rows["whole" if whole else "reused"] += rows
        return self.unet(latents, features, context)[0] if whole else self.outer(latents, features, context)

    def outer(self, latents: torch.Tensor, features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Compute the outermost layers alone."""
        unet = self.unet
        assert self.deep is not None, "a whole evaluation comes first"
        x, deep, time = unet.conv_in(latents), self.deep[: len(latents)], unet.time_embedding(features)
        skipped, down, up = [x], unet.down_blocks[0], unet.up_blocks[-1]
        for i in range(self.layers - 1):
            x = down.attentions[i](down.resnets[i](x, time), encoder_hidden_states=context)[0]
            skipped.append(x)
        x = deep
        for i in range(-self.layers, 0):
            x = up.resnets[i](torch.cat([x, skipped.pop()], 1), time)
            x = up.attentions[i](x, encoder_hidden_states=context)[0]
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))


def share_of_outer(config: Any, tokens: int, layers: int) -> float:
    """Return the operations of the outermost layers as a share of the whole UNet's."""
    with torch.device("meta"):
        bare = ReusedUNet(UNet2DConditionModel.from_config(config), 2, layers)
        side, channels = bare.unet.config.sample_size, bare.unet.config.in_channels
        shapes = (
            (1, channels, side, side),
            (1, bare.unet.config.block_out_channels[0]),
            (1, tokens, bare.unet.config.cross_attention_dim),
        )
        inputs = [torch.zeros(shape) for shape in shapes]
    counts = []
    for _ in range(2):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            bare(*inputs)
        counts.append(counter.get_total_flops())
    return counts[1] / counts[0]


@dataclass(frozen=True)
class Way:
    """A way to draw: the steps, of how many evaluations one is whole, and the layers that the others compute."""

    steps: int
    every: int = 1
    layers: int = 1


def drawn(bundle: Bundle, model: MergedModel, way: Way, pictures: int) -> tuple[NDArray[np.float32], dict[str, int]]:
    """Return the final latents (B, C, h, w) of seeds 0, 1, ... in torch, and the rows that the UNet evaluated."""
    unet = ReusedUNet(model.unet, way.every, way.layers)

    def open_function(path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Function:
        @torch.no_grad()
        def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
            values = [torch.from_numpy(np.array(arrays[name], np.float32)) for name in inputs]
            return {"eps": unet(*values).numpy()}

        return run

    class_name = model.record["class_name"]
    settings = settings_of(backend="openvino", batch_size=pictures, precision="f32", num_inference_steps=way.steps)
    job = make_job(bundle, [class_name], pictures, settings)
    denoiser = Denoiser(job, class_name, Recorder(open_function))
    latents = denoiser.run(denoiser.noise(range(pictures)), None)
    unet.close()
    return latents, unet.rows


def measure(bundle: Bundle, folders: list[Path], steps: int, pictures: int, periods: list[int]) -> list[dict[str, Any]]:
    """Return a row for each way to draw, least cost first. Errors are means of the classes."""
    models = [load_merged(folder) for folder in folders]
    config = models[0].unet.config
    depths = range(1, config.layers_per_block + 2)
    shares = {layers: share_of_outer(config, bundle.manifest.context_shape[0], layers) for layers in depths}
    wanted = [[drawn(bundle, model, Way(n), pictures)[0] for n in (EXACT_STEPS, steps)] for model in models]
    ways = [Way(steps, every, layers) for every in periods for layers in depths]
    ways += [Way(fewer) for fewer in range(steps // max(periods), steps, 2)]
    rows: list[dict[str, Any]] = []
    for way in ways:
        found = [drawn(bundle, model, way, pictures) for model in models]
        costs = [counts["whole"] + shares[way.layers] * counts["reused"] for _, counts in found]
        errors = [[relative_l2(values, one) for one in pair] for (values, _), pair in zip(found, wanted, strict=True)]
        exact, same = np.mean(errors, axis=0)
        row = {**asdict(way), "evaluations": round(float(np.mean(costs)) / pictures, 2)}
        row |= {"error_exact": round(float(exact), 4), "error_same_steps": round(float(same), 4)}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return sorted(rows, key=lambda row: row["evaluations"])


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.deep_features", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("merged", metavar="MERGED", type=existing_folder, nargs="+")
    parser.add_argument("--bundle", default="cells", help="name or folder of the bundle (default: cells)")
    parser.add_argument("--steps", type=int, default=20, help="steps whose features are reused (default: 20)")
    parser.add_argument("--pictures", type=int, default=8, help="pictures per class (default: 8)")
    parser.add_argument("--every", type=numbers, default=[2, 3], help="every k-th evaluation is whole (default: 2,3)")
    asked = parser.parse_args()
    bundle = open_bundle(asked.bundle)
    folders: list[Path] = asked.merged
    record = {
        "machine": machine_facts(),
        "torch": torch.__version__,
        "bundle_sha256": bundle.sha256,
        "classes": [folder.name for folder in folders],
        "pictures": asked.pictures,
        "exact_steps": EXACT_STEPS,
        "share_of_outer_layers": {
            "bundle": [round(share_of_outer(load_merged(folders[0]).unet.config, 77, n), 3) for n in (1, 2)],
            "stable diffusion 1.5": [round(share_of_outer(UNET, 77, n), 3) for n in (1, 2, 3)],
        },
        "ways": measure(bundle, folders, asked.steps, asked.pictures, asked.every),
    }
    write_json(asked.record, record)


if __name__ == "__main__":
    run_command_line(main)
