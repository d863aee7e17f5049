"""The command `curve`: tables and plots on a tiny base, and pictures that are not made twice."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from evaluate.studies import checkpoints as stages
from tests.conftest import run_command

pytestmark = pytest.mark.slow

COMMAND = 2
"""Words of a stage before the part's name: the interpreter and -m."""


@pytest.fixture(autouse=True)
def quick_stages(in_process, monkeypatch):
    """Run the stages without their imports, and export with the store of tests/shared_exports.py."""

    def run(words, **options):
        assert options == {"capture_output": True, "text": True, "check": False}
        part, *arguments = words[COMMAND:]
        return in_process(part, *arguments) if part == "exporter" else run_command(part, *arguments)

    monkeypatch.setattr(stages, "subprocess", SimpleNamespace(run=run))


def test_the_command_makes_scores_and_draws_a_checkpoint(checkpoints, whole_path, in_process, tmp_path):
    real = whole_path / "prepared"
    arguments = ("--base", whole_path / "base", "--real", real, "--out", tmp_path / "curve", "--n", 10)
    options = ("--class", "cyt_nep_mast", "--sampling-steps", 2, "--features", "cyto", "--bootstrap", 20)
    done = in_process("evaluate", "curve", checkpoints, *arguments, *options)
    assert done.returncode == 0, done.stderr
    for words in ("cyt_nep_mast, beside the thesis's table 3.6", "0.60", "2.48", "FD-cyto", "5,000", "table 3.7"):
        assert words in done.stdout
    record = json.loads((tmp_path / "curve" / "record" / "record.json").read_text())
    found = record["results"]["classes"]["cyt_nep_mast"]["5000"]["FD-cyto"]
    assert found["fake"]["value"] > found["floor"]["value"]
    assert "cyt_nep_mast, 5000 steps" in record["inputs"]
    names = [image["file"] for image in record["images"]]
    assert names == ["sheet_cyt_nep_mast.png", "curve_cyt_nep_mast.png", "means.png"]
    made = sorted((tmp_path / "curve" / "checkpoints").rglob("*.png"))
    times = [path.stat().st_mtime_ns for path in made]
    again = in_process("evaluate", "curve", checkpoints, *arguments, *options, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["results"] == record["results"]
    assert [path.stat().st_mtime_ns for path in made] == times
    for change in (("--guidance-scale", 3), ("--sampling-steps", 3), ("--n", 11), ("--base", whole_path / "merged")):
        other = in_process("evaluate", "curve", checkpoints, *arguments, *options, *change)
        assert other.returncode == 2
        assert "cyt_nep_mast-5000" in other.stderr
    assert [path.stat().st_mtime_ns for path in made] == times


def test_a_failing_stage_says_its_command(checkpoints, whole_path, in_process, tmp_path):
    arguments = ("--base", tmp_path / "no-base", "--real", whole_path / "prepared", "--out", tmp_path / "curve")
    done = in_process("evaluate", "curve", checkpoints, *arguments, "--step", 5000, "--n", 4)
    assert done.returncode == 2
    for words in ("python -m trainer merge", "exit code 2", "no-base"):
        assert words in done.stderr
