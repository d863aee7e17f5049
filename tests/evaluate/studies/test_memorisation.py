"""Memorisation from files of likelihoods: known gaps, no gap, and files that do not fit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from engine.errors import RequestError
from evaluate.images import open_folder
from evaluate.studies.memorisation import measure_memorisation

MODEL = {"unet_sha256": "a", "steps": 40}


@pytest.fixture
def folders(planted_copies):
    return open_folder(planted_copies / "train"), open_folder(planted_copies / "heldout")


def write(path, folder, bits, **changes):
    rows = [
        {"file": file.name, "sha256": digest, "bits_per_dimension": float(one), "standard_error": 0.1}
        for file, digest, one in zip(folder.files, folder.hashes, bits, strict=True)
    ]
    path.write_text(json.dumps({"format": "cytosynth-likelihood-1", "model": MODEL, "pictures": rows, **changes}))
    return path


def test_a_gap_is_found_where_there_is_one(folders, tmp_path):
    # Evenly spread, so that the two sides have the same mean.
    drawn = [np.linspace(1.8, 2.2, len(folder)) for folder in folders]
    for shift in (0.0, 0.3):
        paths = [
            write(tmp_path / f"{name}.json", folder, bits + (shift if name == "held" else 0))
            for name, folder, bits in zip(("train", "held"), folders, drawn, strict=True)
        ]
        found = measure_memorisation(paths, *folders)
        assert found.gap.value == pytest.approx(drawn[1].mean() - drawn[0].mean() + shift)
        assert (found.gap.low <= 0 <= found.gap.high) == (shift == 0)
        assert (found.told_apart.low <= 0.5 <= found.told_apart.high) == (shift == 0)
        assert found.training.estimate_error == pytest.approx(0.1 / np.sqrt(len(folders[0])))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "the format 'other'"),
        ({"pictures": [{"sha256": "a", "bits_per_dimension": "few"}]}, "bits_per_dimension"),
        ({"model": {**MODEL, "unet_sha256": "b"}}, "another unet_sha256"),
        ({"pictures": []}, "none for 30 of 30 pictures"),
    ],
)
def test_files_that_do_not_fit_are_refused(changes, words, folders, tmp_path):
    first = write(tmp_path / "train.json", folders[0], np.ones(len(folders[0])))
    second = write(tmp_path / "held.json", folders[1], np.ones(len(folders[1])), **changes)
    with pytest.raises(RequestError) as caught:
        measure_memorisation([first, second], *folders)
    assert words in str(caught.value)
    shutil.rmtree(tmp_path)
    with pytest.raises(RequestError):
        measure_memorisation([first], *folders)
