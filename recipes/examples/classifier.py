"""Train a torch classifier on real and synthetic pictures, and test it on real pictures that it has not seen.

    python recipes/examples/classifier.py REAL TEST --folders DIR      # `engine generate --out DIR`
    python recipes/examples/classifier.py REAL TEST --shards DIR       # `engine generate --out DIR --format webdataset`
    python recipes/examples/classifier.py REAL TEST --on-the-fly N     # N pictures per class, made during training

REAL and TEST hold one folder of pictures per class, the layout of torchvision's ImageFolder. TEST defines the classes.
Half of each batch is synthetic. `expect_real` raises an error if TEST contains a synthetic picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from engine import ChunkShuffle, SyntheticCells, expect_real

SIDE, HALF_BATCH = 64, 8


def to_tensor(picture: Image.Image | np.ndarray) -> torch.Tensor:
    """Return a PIL picture or a (H, W, 3) uint8 array as a tensor (3, SIDE, SIDE) float32 in [0, 1]."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    pixels = np.array(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


class ImageFolder(Dataset):
    """A stand-in for `torchvision.datasets.ImageFolder(root, to_tensor)`, which needs no torchvision."""

    def __init__(self, root: Path, transform=to_tensor) -> None:
        # Names with a dot in front are hidden, such as macOS's ._x.png.
        self.classes = sorted(path.name for path in root.glob("[!.]*") if path.is_dir())
        self.samples = [
            (path, label) for label, name in enumerate(self.classes) for path in sorted((root / name).glob("[!.]*"))
        ]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        with Image.open(path) as picture:
            return self.transform(picture), label


def synthetic_loader(arguments: argparse.Namespace, classes: list[str]) -> DataLoader:
    """Return a loader of synthetic pictures, from folders, from shards, or made during training."""
    if arguments.folders:
        return DataLoader(expect_classes(ImageFolder(arguments.folders), classes), HALF_BATCH, shuffle=True)
    if arguments.shards:
        import webdataset

        shards = sorted(map(str, arguments.shards.glob("*.tar")))
        data = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).decode("pil")
        # In the shards a class's number is its position in the run, so take its name from the description.
        data = data.to_tuple("png", "json").map_tuple(to_tensor, lambda said: label_of(said["class"], classes))
        return DataLoader(data, HALF_BATCH)
    cells = SyntheticCells(classes, arguments.on_the_fly, bundle=arguments.bundle, transform=to_tensor)
    # DataLoader takes any object with a length and an index; SyntheticCells needs no torch and is no torch Dataset.
    return DataLoader(cells, HALF_BATCH, sampler=ChunkShuffle(cells))  # type: ignore[arg-type]


def expect_classes(data: ImageFolder, classes: list[str]) -> ImageFolder:
    """Return the data with labels that are positions in `classes`.

    The data may lack classes, because `engine generate --balance` skips classes that need no pictures.
    """
    labels = [label_of(name, classes) for name in data.classes]
    data.samples = [(path, labels[label]) for path, label in data.samples]
    return data


def label_of(name: str, classes: list[str]) -> int:
    """Return the position of a class in TEST."""
    if name not in classes:
        raise SystemExit(f"TEST has the classes {', '.join(classes)}, but not: {name}")
    return classes.index(name)


def without_end(loader: DataLoader) -> Iterator[list[torch.Tensor]]:
    """Yield batches epoch after epoch, without end."""
    while True:
        yield from loader


def make_classifier(classes: int) -> nn.Sequential:
    """Return a classifier with three strided convolutions and a linear layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def main() -> None:
    """Train and test the classifier."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real", type=Path)
    parser.add_argument("test", type=Path)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--folders", type=Path)
    way.add_argument("--shards", type=Path)
    way.add_argument("--on-the-fly", type=int, metavar="N")
    parser.add_argument("--bundle", default="cells")
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    test = ImageFolder(expect_real(arguments.test))
    real = expect_classes(ImageFolder(arguments.real), test.classes)
    torch.manual_seed(0)
    model = make_classifier(len(test.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    halves = [DataLoader(real, HALF_BATCH, shuffle=True), synthetic_loader(arguments, test.classes)]
    batches = zip(*map(without_end, halves), strict=True)
    for _ in range(arguments.steps):
        pictures, labels = map(torch.cat, zip(*next(batches), strict=True))
        loss = nn.functional.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum(int((model(pictures).argmax(1) == labels).sum()) for pictures, labels in DataLoader(test, 64))
    print(f"accuracy on {len(test)} real pictures of {', '.join(test.classes)}: {right / len(test):.3f}")


if __name__ == "__main__":
    main()
