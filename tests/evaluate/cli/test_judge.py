"""The command `judge`: its record and its sentences."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_command_reports_both_sides(coloured_sets, in_process, tmp_path):
    folders = ["--train", coloured_sets / "one", "--train", coloured_sets / "two", "--held-out", coloured_sets / "held"]
    options = ("--steps", 60, "--size", 16, "--out", tmp_path / "record")
    done = in_process("evaluate", "judge", coloured_sets / "swapped", *folders, *options)
    assert done.returncode == 0, done.stderr
    assert "red is given its own class in 0.0%" in done.stdout
    assert "(real: 100.0%)" in done.stdout
    record = json.loads((tmp_path / "record/record.json").read_text())
    assert record["results"]["synthetic"][str(coloured_sets / "swapped")]["red"]["given"] == {"blue": 12, "red": 0}
    report = in_process("evaluate", "report", tmp_path / "record", "--out", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr
    assert "red is given its own class in 0.0%" in (tmp_path / "report.html").read_text()
