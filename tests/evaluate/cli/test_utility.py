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
        ({"--choice-folds": 4}, "0 sets of variations"),
    ],
)
def test_wrong_requests_of_utility_exit_2(change, word, sets, in_process):
    options = {"--real": "real", "--synthetic": "synthetic", "--held-out": "heldout"} | change
    words = [word if isinstance(word, int) else sets / word for pair in options.items() for word in pair[1:]]
    arguments = [part for name, word in zip(options, words, strict=True) for part in (name, word)]
    done = in_process("evaluate", "utility", *arguments)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr


def arguments_of(varied, **changes):
    folders = {
        "real": "real",
        "synthetic": "variations/0.3",
        "held-out": "heldout",
        "variations": "variations",
    } | changes
    named = [word for name, folder in folders.items() for word in (f"--{name}", varied / folder)]
    return (*named, "--steps", 3, "--seeds", 1, "--size", 16)


@pytest.fixture
def synthetic(varied, in_process, tmp_path):
    options = ("--class", "all", "--n", 3, "--steps", 2, "--bundle", varied / "bundle", "--out", tmp_path / "synthetic")
    done = in_process("engine", "generate", *options)
    assert done.returncode == 0, done.stderr
    return tmp_path / "synthetic"


def test_one_of_several_strengths_is_chosen_on_real_training_pictures(varied, synthetic, in_process, tmp_path):
    arguments = arguments_of(varied, synthetic=synthetic)
    done = in_process("evaluate", "utility", *arguments, "--choice-seeds", 2, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "the gain of real + classical + variations over real + classical is" in done.stdout
    assert "3-fold cross-validation on the real training pictures, 2 seeds, no held-out picture" in done.stdout
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    choice = record["results"]["variations"]
    assert (set(choice["scores"]), choice["folds"], choice["seeds"]) == ({"0.3", "0.7"}, 3, 2)
    assert choice["scores"][choice["chosen"]] == max(choice["scores"].values())
    assert "real + classical + variations" in record["results"]["rows"]["from scratch"]["arms"]
    assert record["inputs"]["variations 0.7 cyt_mast"]["made_by"]["strength"] == 0.7
    assert record["results"]["pictures"]["variations 0.3"] == {"cyt_mast": 12, "cyt_nep_mast": 12}
    report = in_process("evaluate", "report", tmp_path / "out", "--out", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr
    assert "Left-out real training pictures" in (tmp_path / "report.html").read_text()


def test_one_strength_is_not_chosen(varied, synthetic, in_process):
    done = in_process(
        "evaluate", "utility", *arguments_of(varied, synthetic=synthetic, variations="variations/0.7"), "--json"
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert results["variations"] == {"chosen": "0.7", "scores": {}, "folds": 0, "seeds": 0}


def test_a_record_without_variations_has_the_shape_of_before(sets, in_process):
    arguments = ("--real", sets / "real", "--synthetic", sets / "synthetic", "--held-out", sets / "heldout")
    record = json.loads(in_process("evaluate", "utility", *arguments, "--steps", 1, "--seeds", 1, "--json").stdout)
    assert set(record["results"]) == {"rows", "class_names", "pictures", "ignored", "settings", "seconds"}
    assert set(record["results"]["pictures"]) == {"real", "synthetic", "heldout"}
    assert not any("variations" in name for name in record["definitions"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variations": "of_heldout"}, "synthetic pictures that were derived from pictures in heldout"),
        ({"variations": "heldout"}, "pictures in more than one of heldout, variations"),
        ({"variations": "absent"}, "no such folder"),
        ({"real": "heldout", "held-out": "real"}, "derived from pictures in heldout"),
    ],
)
def test_variations_of_other_pictures_are_refused(changes, words, varied, synthetic, in_process, tmp_path):
    arguments = arguments_of(varied, synthetic=synthetic, **changes)
    done = in_process("evaluate", "utility", *arguments, "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_variations_of_pictures_that_are_in_no_folder_are_refused(varied, synthetic, in_process, tmp_path):
    shutil.copytree(varied / "real", tmp_path / "real")
    (tmp_path / "real" / "cyt_mast" / "0003.png").unlink()
    done = in_process("evaluate", "utility", *arguments_of(varied, synthetic=synthetic, real=tmp_path / "real"))
    assert done.returncode == 2, done.stderr
    assert "4 pictures in --variations that were not derived from a picture in" in done.stderr
    assert "000003.png: derived from 0003.png" in done.stderr
