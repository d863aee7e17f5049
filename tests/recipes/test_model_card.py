"""The model card is made from the records of an evaluation."""

from __future__ import annotations

import json
import sys

import pytest

from evaluate.report.records import make_record, write_record
from evaluate.studies.copies import CopiesResults
from evaluate.studies.judge import JudgeSettings, Share, Verdict
from evaluate.studies.morphology import Comparison, Morphology
from evaluate.studies.score import Figure, Score, ScoreResults
from evaluate.studies.utility import Utility, UtilitySettings
from evaluate.studies.utility_figures import Arm, Estimate, Row
from recipes import model_card

CLASSES = ("basophil", "cyt_mast", "neutrophil")
"""Photographs with a hypernetwork, phantoms, and photographs that the base itself draws."""


def figure(value):
    return Figure(value, 0.9 * value, 1.1 * value)


def score_of(fd):
    def one(value, floor, controls):
        return Score(figure(floor), figure(value), controls, dict.fromkeys(controls, True))

    figures = {
        "FD-cyto": one(fd, 2.0, {"blurred reals": figure(20), "another class": figure(9)}),
        "KD-cyto": one(fd / 100, 0.01, {}),
        "recall-cyto": one(0.5, 0.9, {}),
    }
    return ScoreResults(150, 20, 100, 0, {"cyto": "0"}, figures, {}, {})


def shares(names, other="ig"):
    return {name: Share(0.8, 0.7, 0.9, {name: 8, other: 2, "platelet": 0}) for name in names}


def utility():
    estimate = Estimate(0.71, 0.6, 0.8)
    arm = Arm(estimate, estimate, estimate, {}, [[1.0]])
    row = Row({"real + classical": arm}, {"real + synthetic": Estimate(0.05, -0.01, 0.1)})
    return Utility({"from scratch": row}, list(CLASSES), {}, {}, UtilitySettings(), 1.0)


@pytest.fixture
def work(tmp_path):
    """What recipes/evaluation/cells.sh leaves, and the recipe's folder beside it."""
    synthetic = {"blood": ("basophil", "neutrophil"), "blood-alone": ("basophil",), "blood-other": ("basophil",)}
    sets = {name: shares(names) for name, names in synthetic.items()}
    measured = {"nucleus": (1.0, 0.1), "lobes": (0.2, 0.1)}
    measures = {
        name: Comparison((1.0,), (2.0,), 1, distance, (0.1, 0.3), floor, (0.1, 0.2), 0.3, 0.7, 0.3)
        for name, (distance, floor) in measured.items()
    }
    found = {
        "judge": Verdict([*CLASSES, "ig"], shares(("basophil", "neutrophil")), 0.95, sets, JudgeSettings(), "0"),
        "utility": utility(),
        **{f"copies-{name}": CopiesResults(0.5, 0.02, 0.01, 0.05, 0.01, [], [], {}) for name in CLASSES},
        **{f"morphology-{name}": Morphology(measures, 9, 9, 0, 0, 128, True) for name in CLASSES},
    }
    for name in CLASSES:
        for kind, fd in {"": 6.0, "fast-": 7.0, "alone-": 30.0, "other-": 40.0}.items():
            found[f"score-{kind}{name}"] = score_of(fd)
    for name, results in found.items():
        record = make_record(name, results, inputs={}, definitions={}, warnings=[])
        (tmp_path / "work/records").mkdir(parents=True, exist_ok=True)
        write_record(tmp_path / "work/records" / name, record, {}, {})
    quality = {"psnr_db": 33.0, "psnr_nucleus_db": 28.0, "fd_cyto_reconstructed": 3.0, "fd_cyto_floor": 2.0}
    autoencoder = {"classes": dict.fromkeys(CLASSES, quality), "means": quality}
    (tmp_path / "work/autoencoder.json").write_text(json.dumps(autoencoder))
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
    defaults = {"num_inference_steps": 20, "guidance_interval": [2, 6]}
    fast = {"num_inference_steps": 8, "guidance_interval": [3, 6]}
    files = {"unet.bin": {"bytes": 1_500_000}}
    manifest = {"classes": classes, "defaults": defaults, "presets": {"fast": fast}, "files": files}
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
        "| [`basophil`](#basophil) | 31 photographs | 3.0 | 80% | 2.0% |",
        "| [`cyt_mast`](#cyt_mast) | 31 phantoms | 3.0 | 90% | not measured |",
        "| FD-cyto | 6 [5.4, 6.6]: **3.0 floors** (floor 2) |",
        "| nearest control | 4.5 floors (another class) |",
        "| intended class by the judge | 80% [70%, 90%] (of held-out real cells 80% [70%, 90%]) |",
        "| most often instead | ig, 2 of 10 |",
        "| copies | 2.0% [1.0%, 5.0%] |",
        "| morphology off | 1 of 2 |",
        "| without its hypernetwork | FD-cyto 30 [27, 33], judge 80% |",
        "| with another class's hypernetwork | FD-cyto 40 [36, 44] |",
        "| **from scratch: gain of real + synthetic**, points | **+5.0** [-1.0, +10.0] |",
        "| hypernetwork `basophil` | 1,200 | 8 | 1.5 min | some, 2 threads |",
    ):
        assert line in text.splitlines()
    assert "FD-cyto 7 (above) (default 6 [5.4, 6.6])" in text
    assert "(balanced)" in text
    assert "95.0%" in text


def test_a_missing_record_is_named(work, recipe, monkeypatch):
    (work / "records/copies-basophil/record.json").unlink()
    monkeypatch.setattr(sys, "argv", ["model_card", str(work), str(recipe)])
    with pytest.raises(Exception, match="copies-basophil"):
        model_card.main()
