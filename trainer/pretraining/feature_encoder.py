"""The small encoder of `evaluate`: a classifier of real cells. Its last features serve FD-cyto and KD-cyto."""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.export import Dim

from engine.files import expect_place, replace_file, write_json
from engine.progress import Progress, silent
from trainer.pictures.dataset import PictureSet, read_set, turn
from trainer.pretraining.settings import EncoderSettings
from trainer.training.loop import Training, digest_parts

__all__ = ["Encoder", "train_encoder"]

VALIDATION_EVERY = 6
"""Every sixth picture is held out for validation."""


class Block(nn.Module):
    """A residual block that halves the grid."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before, h, w) -> (B, after, h / 2, w / 2)."""
        return torch.relu(self.body(x) + self.skip(x))


class Encoder(nn.Module):
    """images (B, S, S, 3) uint8 -> features (B, 128) and logits (B, classes), float32."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.blocks = nn.Sequential(Block(24, 32), Block(32, 64), Block(64, 128))
        self.head = nn.Linear(128, classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits. The features are the means of the last block's outputs over the picture."""
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        features = self.blocks(self.stem(x)).mean((2, 3))
        return features, self.head(features)


def train_encoder(
    folders: list[Path], out: Path, settings: EncoderSettings, progress: Progress = silent
) -> dict[str, Any]:
    """Train on prepared pictures, write the ONNX file `out` and its record beside it, and return the record.

    Augmentation changes the symmetry, the stain (optical density of each channel by 10 %) and the light (by 5 %). It
    does not blur, so that the features stay sensitive to blur.
    """
    expect_place(out)
    data = read_set(folders)
    torch.manual_seed(settings.seed)
    encoder = Encoder(len(data.class_names))
    kept = torch.arange(len(data.labels)) % VALIDATION_EVERY == 0
    pictures, labels = data.pictures[~kept], data.labels[~kept]

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(len(labels), (settings.batch_size,), generator=generator)
        batch = turn(pictures[chosen], int(torch.randint(8, (1,), generator=generator)))
        _, logits = encoder(_jitter(batch, generator).permute(0, 2, 3, 1))
        return nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)

    subject = digest_parts(pictures, labels, data.class_names)
    run = Training("encoder", encoder, loss_of, settings.loop(), settings.work, subject=subject).run(progress=progress)
    accuracy = _accuracy(encoder, data, kept)
    _export(encoder, out, data.size)
    record = {
        "name": "cyto",
        "file": out.name,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "size": data.size,
        "features": 128,
        "classes": data.class_names,
        "pictures": {name: int((data.labels == label).sum()) for label, name in enumerate(data.class_names)},
        "validation_pictures": int(kept.sum()),
        "validation_accuracy": accuracy,
        "attribution": settings.attribution,
        "training": run,
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxscript")},
    }
    write_json(out.with_suffix(".json"), record)
    return record


def _jitter(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the pictures with jittered stain and light: (B, 3, S, S) uint8 -> float32 in [0, 255].

    The jitter scales the optical density of the Beer-Lambert law.
    """
    density = -torch.log(pictures.float().clamp(min=1) / 255)
    count = len(pictures)
    stain = 1 + 0.10 * torch.randn(count, 3, 1, 1, generator=generator)
    light = 1 + 0.05 * torch.randn(count, 1, 1, 1, generator=generator)
    return (255 * light * torch.exp(-density * stain)).clamp(0, 255)


@torch.no_grad()
def _accuracy(encoder: Encoder, data: PictureSet, kept: torch.Tensor) -> float:
    encoder.eval()
    chunks = data.pictures[kept].permute(0, 2, 3, 1).split(64)
    found = torch.cat([encoder(chunk)[1].argmax(1) for chunk in chunks])
    return float((found == data.labels[kept]).float().mean())


def _export(encoder: Encoder, out: Path, size: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with replace_file(out) as part:
        with torch.no_grad(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                encoder.eval(),
                (example,),
                part,
                dynamo=True,
                opset_version=23,
                input_names=["images"],
                output_names=["features", "logits"],
                dynamic_shapes=({0: Dim("B")},),
                external_data=False,
                verbose=False,
            )
        model = onnx.load(part)
        # The exporter's notes contain stack traces with paths of this machine.
        for owner in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
            del owner.metadata_props[:]
        for value in (*model.graph.input, *model.graph.output):
            del value.metadata_props[:]
        part.write_bytes(model.SerializeToString())
