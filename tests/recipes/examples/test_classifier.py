"""The example of the guide about classifiers: its three ways, with its options, for two classes and few pictures."""

from __future__ import annotations

import gc
import re
import runpy
import shutil
import sys
import warnings

import pytest
from PIL import Image

from engine.errors import RequestError
from tests.conftest import ROOT, captured
from trainer.pictures.phantom import draw

pytestmark = pytest.mark.slow

CLASSES = ("cyt_nep_fib_mast", "cyt_kist_mast")
"""Not in the order of the folders' names: the shards number them otherwise than TEST does."""
SCRIPT = ROOT / "recipes/examples/classifier.py"


def example(*arguments):
    """Run the example in this process, without seconds of imports. Return what it printed."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), captured() as printed:
        patch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments), "--steps", "80"])
        warnings.simplefilter("ignore")
        runpy.run_path(str(SCRIPT), run_name="__main__")
        # WebDataset warns of its open files here, not in a later test.
        gc.collect()
    return printed[0]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Phantoms stand for real pictures: folders to train and to test on."""
    root = tmp_path_factory.mktemp("real")
    for part, first_seed in (("train", 0), ("test", 200)):
        for name in CLASSES:
            (root / part / name).mkdir(parents=True)
            for seed in range(first_seed, first_seed + 12):
                Image.fromarray(draw(name, seed, 128)[0]).save(root / part / name / f"{seed}.png")
    return root


@pytest.mark.soak  # tests/docs/test_pages_in_small.py runs the guide's commands
@pytest.mark.parametrize("way", ["--on-the-fly", "--folders", "--shards"])
def test_a_classifier_learns_from_real_and_synthetic_pictures(way, real, in_process, tmp_path):
    """The embedded bundle draws synthetic ones of the same classes."""
    given = 6 if way == "--on-the-fly" else tmp_path / "synthetic"
    asked = [word for name in CLASSES for word in ("--class", name)]
    options = {
        "--folders": ["--balance", real / "train", "--n", 18],
        "--shards": [*asked, "--n", 6, "--format", "webdataset", "--shard-pictures", 5],
    }
    if way in options:
        done = in_process("engine", "generate", *options[way], "--steps", 6, "--out", tmp_path / "synthetic")
        assert done.returncode == 0, done.stderr
    printed = example(real / "train", real / "test", way, given)
    found = re.search(r"accuracy on 24 real pictures of cyt_kist_mast, cyt_nep_fib_mast: ([\d.]+)", printed)
    # A route that gave the classes' numbers in another order would teach half of every batch the wrong way round.
    assert float(found[1]) > 0.75


def test_labels_go_by_the_names_of_the_classes(real, in_process, tiny_bundle, tmp_path):
    """`--balance` makes no folder of a class that lacks nothing, here of the one that comes first."""
    example = runpy.run_path(str(ROOT / "recipes/examples/classifier.py"))
    shutil.copytree(real / "test/cyt_kist_mast", tmp_path / "real/cyt_mast")
    shutil.copytree(real / "test/cyt_kist_mast", tmp_path / "real/cyt_nep_mast")
    (tmp_path / "real/cyt_nep_mast/200.png").unlink()
    words = ["--bundle", tiny_bundle, "--balance", tmp_path / "real", "--n", 12, "--steps", 1]
    assert in_process("engine", "generate", *words, "--out", tmp_path / "synthetic").returncode == 0
    synthetic = example["ImageFolder"](tmp_path / "synthetic")
    data = example["expect_classes"](synthetic, ["cyt_mast", "cyt_nep_mast"])
    assert [(path.parent.name, label) for path, label in data.samples] == [("cyt_nep_mast", 1)]
    with pytest.raises(SystemExit, match="not: cyt_nep_mast"):
        example["expect_classes"](example["ImageFolder"](tmp_path / "synthetic"), ["cyt_mast"])


def test_a_synthetic_picture_in_the_test_set_is_refused(real, in_process, tiny_bundle, tmp_path):
    request = ["--bundle", tiny_bundle, "--class", "all", "--n", 1, "--steps", 1, "--out", tmp_path / "synthetic"]
    assert in_process("engine", "generate", *request).returncode == 0
    shutil.copytree(real / "test", tmp_path / "test")
    shutil.copy(tmp_path / "synthetic/cyt_mast/000000.png", tmp_path / "test/cyt_kist_mast/999.png")
    with pytest.raises(RequestError, match=r"cyt_kist_mast/999\.png\n  found:    a synthetic picture"):
        example(real / "train", tmp_path / "test", "--folders", tmp_path / "synthetic")
