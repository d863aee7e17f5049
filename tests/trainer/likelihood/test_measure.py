"""The command `likelihood` on a tiny merged folder, and what `evaluate copies` makes of its record."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def pictures(whole_path, tmp_path_factory):
    """Three folders with prepared pictures, and one with a picture of another size."""
    root = tmp_path_factory.mktemp("pictures")
    files = sorted((whole_path / "prepared/cyt_mast").glob("*.png"))
    for name, chosen in (("train", files[:3]), ("heldout", files[10:12]), ("synthetic", files[20:22])):
        (root / name).mkdir()
        for path in chosen:
            shutil.copy(path, root / name)
    (root / "larger").mkdir()
    Image.open(files[0]).resize((64, 64)).save(root / "larger" / "one.png")
    return root


@pytest.mark.slow
def test_likelihoods_do_not_depend_on_the_batch_and_copies_reports_the_gap(in_process, whole_path, pictures, tmp_path):
    merged, quick = whole_path / "merged/cyt_mast", ("--steps", 4, "--probes", 2)
    for name, batch_size in (("train", 3), ("heldout", 1), ("again", 2)):
        folder = pictures / ("heldout" if name == "again" else name)
        options = (*quick, "--batch-size", batch_size, "--out", tmp_path / f"{name}.json")
        done = in_process("trainer", "likelihood", merged, folder, *options)
        assert done.returncode == 0, done.stderr
    assert "bits per dimension over 2 pictures" in done.stdout
    train, held, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("train", "heldout", "again"))
    assert train["model"] == held["model"]
    assert train["model"]["dimensions"] == 4 * 8 * 8
    bits = [[one["bits_per_dimension"] for one in record["pictures"]] for record in (held, again)]
    assert bits[0] == pytest.approx(bits[1], rel=1e-4)
    assert np.isfinite(bits).all()
    assert bits[0][0] != bits[0][1]

    folders = ("--train", pictures / "train", "--held-out", pictures / "heldout")
    asked = ("evaluate", "copies", pictures / "synthetic", *folders, "--json")
    both = ("--likelihood", tmp_path / "train.json", "--likelihood", tmp_path / "heldout.json")
    done = in_process(*asked, *both)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"]["memorisation"]
    assert found["gap"]["value"] == pytest.approx(held["bits_per_dimension"] - train["bits_per_dimension"])
    assert found["training"]["pictures"] == 3
    done = in_process(*asked, *both[:2])
    assert done.returncode == 2
    assert "none for 2 of 2 pictures" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none", "heldout"), "The merged folder"),
        (("merged", "none"), "none"),
        (("merged", "heldout", "--probes", 1), "--probes"),
        (("merged", "heldout", "--out", "heldout"), "an existing file"),
        (("merged", "larger"), "64 x 64 pixels"),
    ],
)
def test_wrong_requests_exit_2(arguments, words, in_process, whole_path, pictures, tmp_path):
    places = {"merged": whole_path / "merged/cyt_mast", "heldout": pictures / "heldout", "none": tmp_path / "none"}
    places["larger"] = pictures / "larger"
    done = in_process("trainer", "likelihood", *(places.get(word, word) for word in arguments))
    assert done.returncode == 2
    assert words in done.stderr
