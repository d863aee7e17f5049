"""The command `utility`: gains, warnings, its record, and the requests that it refuses."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def sets(phantoms, tmp_path):
    """real, synthetic and heldout: two classes of phantoms in each."""
    for name, pictures in (("real", slice(0, 6)), ("heldout", slice(6, 12))):
        for class_name in ("cyt_mast", "cyt_kist_mast"):
            (tmp_path / name / class_name).mkdir(parents=True)
            for path in sorted((phantoms / "real" / class_name).iterdir())[pictures]:
                shutil.copy(path, tmp_path / name / class_name)
    shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "synthetic" / "cyt_mast")
    (tmp_path / "synthetic" / "cyt_kist_mast").mkdir()
    for path in sorted((phantoms / "real" / "cyt_mast").iterdir())[12:]:
        shutil.copy(path, tmp_path / "synthetic" / "cyt_kist_mast")
    return tmp_path


def test_utility_prints_gains_and_leaves_a_record(sets, in_process):
    arguments = ("--real", sets / "real", "--synthetic", sets / "synthetic", "--held-out", sets / "heldout")
    options = ("--steps", 4, "--seeds", 1, "--size", 16, "--out", sets / "record")
    done = in_process("evaluate", "utility", *arguments, *options)
    assert done.returncode == 0, done.stderr
    for words in ("balanced accuracy", "Recall of each class", "the gain of real + synthetic over real + classical is"):
        assert words in done.stdout
    assert "Without --pretrain" in done.stderr
    assert "Fewer than 30 held-out pictures of cyt_kist_mast, cyt_mast" in done.stderr
    record = json.loads((sets / "record" / "record.json").read_text())
    assert record["inputs"]["synthetic cyt_mast"]["pictures"] == 12
    assert list(record["results"]["rows"]) == ["from scratch"]
    report = in_process("evaluate", "report", sets / "record", "--out", sets / "report.html")
    assert report.returncode == 0, report.stderr
    assert "the gain of real + synthetic" in (sets / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"--held-out": "real"}, "pictures in more than one of heldout, real"),
        ({"--real": "real/cyt_mast"}, "two folders"),
        ({"--seeds": 0}, "--seeds"),
        ({"--steps": 0}, "--steps"),
    ],
)
def test_wrong_requests_of_utility_exit_2(change, word, sets, in_process):
    options = {"--real": "real", "--synthetic": "synthetic", "--held-out": "heldout"} | change
    words = [word if isinstance(word, int) else sets / word for pair in options.items() for word in pair[1:]]
    arguments = [part for name, word in zip(options, words, strict=True) for part in (name, word)]
    done = in_process("evaluate", "utility", *arguments)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
