"""A plain torch classifier trained on real and synthetic folders, tested on real pictures that it has not seen.

    python docs/examples/classifier.py REAL SYNTHETIC TEST

Each is a folder of one folder of pictures a class, as `engine generate --out SYNTHETIC` writes; the classes are those
of TEST. A synthetic picture never gets into TEST: every file there is asked what it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

SIDE = 64


class Folders(Dataset):
    """(3, SIDE, SIDE) float32 in [0, 1] and the class's number, from `root/<class>/*.png`."""

    def __init__(self, root: Path, classes: list[str]) -> None:
        self.files = [
            (path, label) for label, name in enumerate(classes) for path in sorted((root / name).glob("*.png"))
        ]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.files[index]
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255, label


def refuse_synthetic(data: Folders) -> None:
    """Stop if a picture says that the engine made it."""
    for path, _ in data.files:
        with Image.open(path) as picture:
            picture.load()
            text = getattr(picture, "text", {}).get("cytosynth")
        if text is not None and json.loads(text)["synthetic"]:
            raise SystemExit(f"{path} is synthetic: it has no place in a test set")


def make_classifier(classes: int) -> nn.Sequential:
    """Three strided convolutions and a linear layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    classes = sorted(path.name for path in arguments.test.iterdir() if path.is_dir())
    test = Folders(arguments.test, classes)
    refuse_synthetic(test)
    parts = [Folders(root, classes) for root in (arguments.real, arguments.synthetic)]
    print(
        f"{len(parts[0])} real and {len(parts[1])} synthetic pictures of {', '.join(classes)}; {len(test)} to test on"
    )
    torch.manual_seed(0)
    model = make_classifier(len(classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loader = DataLoader(ConcatDataset(parts), batch_size=16, shuffle=True)
    step = 0
    while step < arguments.steps:
        for pictures, labels in loader:
            loss = nn.functional.cross_entropy(model(pictures), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == arguments.steps:
                break
    model.eval()
    with torch.no_grad():
        right = sum(int((model(pictures).argmax(1) == labels).sum()) for pictures, labels in DataLoader(test, 64))
    print(f"accuracy on {len(test)} real pictures: {right / len(test):.3f}")


if __name__ == "__main__":
    main()
