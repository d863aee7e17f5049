"""Small folders of pictures, and records of them, that several tests share. Tests must not change them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image, ImageFilter

from tests.conftest import shared_folder
from trainer.pictures.phantom import draw

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "same": lambda picture: picture,
    "mirrored": lambda picture: picture.transpose(Image.Transpose.TRANSPOSE),
    "turned": lambda picture: picture.rotate(45, Image.Resampling.BICUBIC, fillcolor=(225, 215, 225)),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "stained": lambda picture: Image.fromarray((255 * (np.asarray(picture) / 255) ** 1.2).astype(np.uint8)),
}
"""How the planted copies differ from their training picture."""


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """real/cyt_mast (24 pictures), real/cyt_kist_mast (12), and synthetic/cyt_mast (12), all phantoms."""
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
    """Use one thread of torch: at 16 pixels, several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def planted_copies(tmp_path_factory):
    """train (20) and heldout (30) phantoms; synthetic: 8 other phantoms, then changed copies."""
    root = tmp_path_factory.mktemp("copies")
    for name, seeds in (("train", range(20)), ("heldout", range(500, 530)), ("synthetic", range(900, 908))):
        (root / name).mkdir()
        for seed in seeds:
            Image.fromarray(draw("cyt_mast", seed, 64)[0]).save(root / name / f"{seed:04d}.png")
    for place, change in enumerate(CHANGES.values()):
        picture = Image.open(root / "train" / f"{place:04d}.png")
        change(picture).save(root / "synthetic" / f"copy{place}.png")
    return root


@pytest.fixture(scope="session")
def coloured_sets(tmp_path_factory):
    """Red and blue cells in two training folders; a set with the right colours, and one whose red cells are blue."""
    root = tmp_path_factory.mktemp("judge")
    red, blue = (200, 90, 90), (90, 90, 200)
    for seed, (name, first, second) in enumerate(
        [("one", red, blue), ("two", red, blue), ("held", red, blue), ("faithful", red, blue), ("swapped", blue, blue)]
    ):
        _write(root / name / "red", first, 12, 2 * seed)
        _write(root / name / "blue", second, 12, 2 * seed + 1)
    return root


def _write(folder, colour, count, seed):
    """Noisy pictures of one colour."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        picture = np.clip(np.asarray(colour) + rng.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="session")
def varied(tiny_bundle, in_process, tmp_path_factory):
    """real and heldout: 6 phantoms of 32 pixels in each of two classes. `variations/0.3` and `variations/0.7`: two
    variations of each real picture. of_heldout: one of each held-out picture. bundle: the bundle that drew them."""
    root = tmp_path_factory.mktemp("varied")
    (root / "bundle").symlink_to(tiny_bundle)
    for place, name in enumerate(("real", "heldout")):
        for number, class_name in enumerate(("cyt_mast", "cyt_nep_mast")):
            (root / name / class_name).mkdir(parents=True)
            for seed in range(6):
                pixels = draw(class_name, 1000 * place + 100 * number + seed, 32)[0]
                Image.fromarray(pixels).save(root / name / class_name / f"{seed:04d}.png")
    for out, source, strength, n in (
        ("variations/0.3", "real", 0.3, 12),
        ("variations/0.7", "real", 0.7, 12),
        ("of_heldout", "heldout", 0.5, 6),
    ):
        options = ("--class", "all", "--n", n, "--steps", 2, "--bundle", tiny_bundle, "--out", root / out)
        done = in_process("engine", "generate", *options, "--init", root / source, "--strength", strength)
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def checkpoints(whole_path, tmp_path_factory):
    """Files as `fit --save-every` writes them: cyt_mast at 5,000 and 10,000 steps, cyt_nep_mast at 5,000."""
    folder = tmp_path_factory.mktemp("hypernetworks")
    (folder / "steps").mkdir()
    for name, step in (("cyt_mast", 5000), ("cyt_mast", 10000), ("cyt_nep_mast", 5000)):
        for suffix in ("safetensors", "json"):
            if (source := whole_path / "hypernetworks" / f"{name}.{suffix}").is_file():
                shutil.copy(source, folder / "steps" / f"{name}-{step:06d}.{suffix}")
    return folder


@pytest.fixture(scope="session")
def records(phantoms, in_process, tmp_path_factory, worker_id):
    """A record of score, probe, copies, morphology and utility each, by their commands. All workers share them."""
    root = shared_folder(tmp_path_factory, worker_id) / "records"
    with FileLock(root.with_suffix(".lock")):
        if not root.exists():
            unfinished = tmp_path_factory.mktemp("records")
            make_records(unfinished, tmp_path_factory.mktemp("sets"), phantoms, in_process)
            unfinished.rename(root)
    return root


def make_records(root, sets, phantoms, in_process):
    """sets: An empty folder for the pictures of `utility`."""
    for name, part in {"real": slice(0, 4), "synthetic": slice(4, 8), "heldout": slice(8, 12)}.items():
        for class_name in ("cyt_mast", "cyt_kist_mast"):
            (sets / name / class_name).mkdir(parents=True)
            for path in sorted((phantoms / "real" / class_name).iterdir())[part]:
                shutil.copy(path, sets / name / class_name)
    real, fake = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    other = phantoms / "real" / "cyt_kist_mast"
    for name, arguments in {
        "score": (real, fake, "--other", other, "--bootstrap", 20, "--splits", 10),
        "probe": (real, fake, "--splits", 2, "--cells", "many"),
        "copies": (fake, "--train", real, "--held-out", other),
        "morphology": (real, fake, "--cells", "many"),
        "utility": (
            "--steps",
            2,
            "--seeds",
            1,
            "--size",
            16,
            "--real",
            sets / "real",
            "--synthetic",
            sets / "synthetic",
            "--held-out",
            sets / "heldout",
        ),
    }.items():
        done = in_process("evaluate", name, *arguments, "--out", root / name)
        assert done.returncode == 0, done.stderr
