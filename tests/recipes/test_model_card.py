"""The model card is made from the records of an evaluation."""

from __future__ import annotations

import json
import sys

import pytest

from evaluate.report.records import make_record, write_record
from evaluate.studies.copies import CopiesResults
from evaluate.studies.judge import JudgeSettings, Share, Verdict
from evaluate.studies.morphology import Comparison, Morphology
from evaluate.studies.probe import ClassProbe, ProbeResults, ProbeSettings, Told
from evaluate.studies.score import Figure, Score, ScoreResults
from evaluate.studies.utility import Utility, UtilitySettings
from evaluate.studies.utility_figures import Arm, Estimate, Row
from recipes import model_card

CLASSES = ("basophil", "cyt_mast", "neutrophil")
"""Photographs with a hypernetwork, phantoms, and photographs that the base itself draws."""
WAYS = {"default": 60.0, "turbo": 30.0}
"""FD-imagenet of each way of drawing."""


def figure(value):
    return Figure(value, 0.9 * value, 1.1 * value)


def score_of(fd):
    def one(value, floor, controls):
        return Score(figure(floor), figure(value), controls, dict.fromkeys(controls, True))

    shares_of_cells = {f"{kind}-{encoder}": one(0.5, 0.9, {}) for kind, encoder in KINDS}
    controls = {"blurred reals": figure(200), "ten repeated reals": figure(90)}
    figures = {"FD-imagenet": one(fd, 20.0, controls), "FD-cyto": one(fd / 10, 2.0, controls), **shares_of_cells}
    return ScoreResults(150, 20, 100, 0, {"cyto": "0"}, figures, {}, {})


KINDS = (("precision", "imagenet"), ("recall", "imagenet"), ("recall", "cyto"))


def shares(names, other="ig"):
    return {name: Share(0.8, 0.7, 0.9, {name: 8, other: 2, "platelet": 0}) for name in names}


def utility():
    estimate = Estimate(0.71, 0.6, 0.8)
    arm = Arm(estimate, estimate, estimate, {}, [[1.0]])
    row = Row({"real + classical": arm}, {"real + synthetic": Estimate(0.05, -0.01, 0.1)})
    return Utility({"from scratch": row}, list(CLASSES), {}, {}, UtilitySettings(), 1.0)


def probe_of(name, accuracy):
    told = {"imagenet": Told(figure(0.5), figure(accuracy)), "lattice": Told(figure(0.5), figure(0.75))}
    return ProbeResults(ProbeSettings(), {}, {name: ClassProbe(150, 128, 0, told)})


def comparison(distance, floor):
    return Comparison((0.14, 0.16), (0.12, 0.13), 2, distance, (0.1, 0.3), floor, (0.1, 0.2), 0.3, 0.7, 0.3)


@pytest.fixture
def work(tmp_path):
    """What recipes/evaluation/cells.sh leaves, and the recipe's folder beside it."""
    blood = ("basophil", "neutrophil")
    measures = {"nucleus": comparison(1.0, 0.1), "lobes": comparison(0.2, 0.1)}
    texture = dict.fromkeys(model_card.TEXTURE, comparison(0.1, 0.1))
    found = {
        "judge": Verdict(
            [*CLASSES, "ig"], shares(blood), 0.95, {way: shares(blood) for way in WAYS}, JudgeSettings(), "0"
        ),
        "utility": utility(),
    }
    for way, fd in WAYS.items():
        found |= {f"score-{way}-{name}": score_of(fd) for name in CLASSES}
        for name in blood:
            found[f"probe-{way}-{name}"] = probe_of(name, fd / 100 + 0.3)
            found[f"copies-{way}-{name}"] = CopiesResults(0.5, 0.02, 0.01, 0.05, 0.01, [], [], {})
            found[f"morphology-{way}-{name}"] = Morphology(measures, 9, 9, 0, 0, 128, True, texture=texture)
    for name, results in found.items():
        record = make_record(name, results, inputs={}, definitions={}, warnings=[])
        (tmp_path / "work/records").mkdir(parents=True, exist_ok=True)
        write_record(tmp_path / "work/records" / name, record, {}, {})
    counts = {"cyt_mast": {"cyt_mast": 9, "cyt_nep_mast": 1}}
    probe = {"as drawn": {"synthetic": counts}, "equalised": {"synthetic": counts}}
    (tmp_path / "work/phantom_probe.json").write_text(json.dumps(probe))
    return tmp_path / "work"


@pytest.fixture
def recipe(tmp_path):
    """The recipe's bundle: its manifest and its record."""
    classes = {
        name: {"origin": "phantom" if name == "cyt_mast" else "photographs", "pictures": 31, "prompt": name}
        for name in CLASSES
    }
    files = {"unet.bin": {"bytes": 1_500_000}}
    manifest = {"classes": classes, "files": files}
    run = {"steps_done": 1200, "batch_size": 8, "seconds": 90.0}
    machine = {"processor": "some", "threads": 2}
    fitted = {name: {"training": run, "machine": machine} for name in CLASSES[:2]}
    record = {"base": {"vae": run, "machine": machine}, "hypernetworks": fitted}
    (tmp_path / "recipe/cells").mkdir(parents=True)
    for name, value in {"manifest": manifest, "record": record}.items():
        (tmp_path / f"recipe/cells/{name}.json").write_text(json.dumps(value))
    return tmp_path / "recipe"


def test_every_class_has_its_table(work, recipe, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model_card", str(work), str(recipe)])
    model_card.main()
    text = capsys.readouterr().out
    for line in (
        "| [`basophil`](#basophil) | 31 | 60% | 1.5 | 1.5 | 0.50 | 0.50 | 80% | 2.0% |",
        "Trained on 31 photographs, with a hypernetwork. Prompt: `basophil`.",
        "Trained on 31 photographs, by the base itself. Prompt: `neutrophil`.",
        "| measure | real cells | default settings | preset `turbo` |",
        "| FD-imagenet | floor 20 | 60 [54, 66]: **3.0 floors** | 30 [27, 33]: **1.5 floors** |",
        "| nearest control by FD-imagenet | 4.5 floors (ten repeated reals) |  |  |",
        "| precision, imagenet | 0.90 | 0.50 | 0.50 |",
        "| probe | 50% | 90% | 60% |",
        "| probe by lattice alone | 50% | 75% | 75% |",
        "| blobness at 0.8 px | 0.150 | 0.125 | 0.125 |",
        "| morphology off |  | 1 of 2 | 1 of 2 |",
        "| intended class by the judge | 80% [70%, 90%] | 80% [70%, 90%] | 80% [70%, 90%] |",
        "| most often instead | ig, 2 of 10 | ig, 2 of 10 | ig, 2 of 10 |",
        "| copies | 1 % by definition |  | 2.0% [1.0%, 5.0%] |",
        "| measure | unseen phantoms | preset `turbo` |",
        "| FD-cyto | floor 2 | 3 [2.7, 3.3]: 1.5 floors |",
        "| intended class by the probe, as drawn |  | 90% |",
        "| **from scratch: gain of real + synthetic**, points | **+5.0** [-1.0, +10.0] |",
        "| hypernetwork `basophil` | 1,200 | 8 | 1.5 min | some, 2 threads |",
    ):
        assert line in text.splitlines()
    assert "95.0% (balanced)" in text


def test_a_missing_record_is_named(work, recipe, monkeypatch):
    (work / "records/copies-turbo-basophil/record.json").unlink()
    monkeypatch.setattr(sys, "argv", ["model_card", str(work), str(recipe)])
    with pytest.raises(Exception, match="copies-turbo-basophil"):
        model_card.main()
