"""The worked example of docs/engine.md runs as it is printed there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from trainer.phantom import draw

ROOT = Path(__file__).parents[2]
CLASSES = ("cyt_kist_mast", "cyt_nep_fib_mast")


def example(*arguments):
    script = ROOT / "docs/examples/classifier.py"
    command = [sys.executable, script, *map(str, arguments), "--steps", "60"]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def draw_folder(root, first_seed, count):
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for seed in range(first_seed, first_seed + count):
            Image.fromarray(draw(name, seed, 128)[0]).save(root / name / f"{seed}.png")


def test_a_classifier_learns_from_real_and_synthetic_folders(command, tmp_path):
    """Phantoms stand for real pictures, and the embedded bundle draws synthetic ones of the same classes."""
    for name, seed in (("real", 0), ("test", 200)):
        draw_folder(tmp_path / name, seed, 12)
    asked = [word for name in CLASSES for word in ("--class", name)]
    done = command("engine", "generate", *asked, "--n", 12, "--steps", 10, "--out", tmp_path / "synthetic")
    assert done.returncode == 0, done.stderr
    done = example(tmp_path / "real", tmp_path / "synthetic", tmp_path / "test")
    assert done.returncode == 0, done.stderr
    assert "24 real and 24 synthetic pictures" in done.stdout
    accuracy = float(re.search(r"real pictures: ([\d.]+)", done.stdout)[1])
    assert accuracy > 0.75


def test_a_synthetic_picture_in_the_test_set_is_refused(command, tiny_bundle, tmp_path):
    request = ["--bundle", tiny_bundle, "--class", "all", "--n", 1, "--steps", 1, "--out", tmp_path / "synthetic"]
    assert command("engine", "generate", *request).returncode == 0
    done = example(tmp_path / "synthetic", tmp_path / "synthetic", tmp_path / "synthetic")
    assert done.returncode == 1
    assert "is synthetic" in done.stderr
