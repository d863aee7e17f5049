"""Small folders of phantoms that the tests of figures share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from trainer.pictures.phantom import draw


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """real/cyt_mast (24) and real/cyt_kist_mast (12); synthetic/cyt_mast (12) of the same kind. Not to be changed."""
    root = tmp_path_factory.mktemp("phantoms")
    for folder, class_name, seeds in (
        ("real", "cyt_mast", range(24)),
        ("real", "cyt_kist_mast", range(12)),
        ("synthetic", "cyt_mast", range(100, 112)),
    ):
        (root / folder / class_name).mkdir(parents=True)
        for seed in seeds:
            Image.fromarray(draw(class_name, seed, 64)[0]).save(root / folder / class_name / f"{seed:04d}.png")
    return root


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads only wait for each other at 16 pixels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
