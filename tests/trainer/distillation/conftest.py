"""A LoRA of two rows for two tiny classes, and photographs of one of them."""

from __future__ import annotations

import shutil

import pytest

CLASSES = ("cyt_mast", "cyt_nep_mast")


@pytest.fixture(scope="module")
def distilled(in_process, whole_path, tmp_path_factory):
    """The LoRA of two rows for two classes, hardly trained."""
    out = tmp_path_factory.mktemp("distilled")
    merged = [whole_path / f"merged/{name}" for name in CLASSES]
    quick = ("--rows", 2, "--teacher-steps", 4, "--guidance-scale", 1, "--pictures", 8, "--rank", 4, "--steps", 2)
    done = in_process("trainer", "distill", *merged, "--out", out, *quick)
    assert done.returncode == 0, done.stderr
    return out / "turbo.safetensors"


@pytest.fixture
def photographs(whole_path, tmp_path):
    """The prepared pictures of the first class only."""
    shutil.copytree(whole_path / "prepared" / CLASSES[0], tmp_path / "photographs" / CLASSES[0])
    return tmp_path / "photographs"
