"""Two bundles compared by the records of their evaluation."""

from __future__ import annotations

import sys

from evaluate.report.records import make_record, write_record
from evaluate.studies.morphology import Comparison, Morphology
from evaluate.studies.probe import ClassProbe, ProbeResults, ProbeSettings, Told
from evaluate.studies.score import Figure, Score, ScoreResults
from recipes import before_after


def figure(value):
    return Figure(value, 0.9 * value, 1.1 * value)


def write_side(folder, fd, accuracy):
    values = {"FD-imagenet": (fd, 20.0), "FD-cyto": (fd / 10, 2.0), "precision-imagenet": (0.5, 0.8)}
    figures = {
        name: Score(figure(floor), figure(value), {}, {})
        for name, (value, floor) in {**values, "recall-imagenet": (0.25, 0.9)}.items()
    }
    told = {"imagenet": Told(figure(0.5), figure(accuracy))}
    grain = Comparison((0.14, 0.16), (0.12, 0.13), 2, 0.1, (0.1, 0.3), 0.1, (0.1, 0.2), 0.3, 0.7, 0.3)
    texture = {"blobness_0.8": grain, "nucleus_coherence": grain}
    found = {
        "score": ScoreResults(150, 20, 100, 0, {"cyto": "0"}, figures, {}, {}),
        "probe": ProbeResults(ProbeSettings(), {}, {"ig": ClassProbe(150, 128, 0, told)}),
        "morphology": Morphology({}, 2, 2, 0, 0, 128, True, texture=texture),
    }
    for kind, results in found.items():
        write_record(folder / f"{kind}-ig", make_record(kind, results, inputs={}, definitions={}, warnings=[]), {}, {})


def test_each_class_has_its_figures_before_and_after(tmp_path, monkeypatch, capsys):
    write_side(tmp_path / "before", 60.0, 0.97)
    write_side(tmp_path / "after", 30.0, 0.85)
    (tmp_path / "none").mkdir()
    monkeypatch.setattr(sys, "argv", ["before_after", str(tmp_path / "before"), str(tmp_path / "after")])
    before_after.main()
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|") == 9
    assert row == (
        "| `ig` | 3.0 -> 1.5 | 3.0 -> 1.5 | 0.50 -> 0.50 | 0.25 -> 0.25 | 97% -> 85% | 0.125 -> 0.125 (0.150) "
        "| 0.12 -> 0.12 (0.15) |"
    )
    monkeypatch.setattr(sys, "argv", ["before_after", str(tmp_path / "none"), str(tmp_path / "after")])
    before_after.main()
    assert "| `ig` | 1.5 | 1.5 | 0.50 | 0.25 | 85% | 0.125 (0.150) | 0.12 (0.15) |" in capsys.readouterr().out
