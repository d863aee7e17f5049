"""The stages of the full-size benchmark: their commands exist, and an interrupted record is continued."""

from __future__ import annotations

import json
import shlex
import sys

import pytest

from benchmarks.scripts import full_size
from tests.docs.commands import check_arguments


@pytest.mark.parametrize("stage", full_size.STAGES)
def test_the_command_of_a_stage_exists_with_its_options(stage):
    part, *arguments = shlex.split(full_size.STAGES[stage])
    check_arguments(part, arguments)


def test_stages_that_the_record_has_are_not_run_again(tmp_path, monkeypatch):
    stages = {"kept": "engine no-such-command", "new": "engine --version"}
    monkeypatch.setattr(full_size, "STAGES", stages)
    (tmp_path / full_size.SINGLE_FILE).touch()
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"stages": {"kept": {"seconds": 7}}}))
    monkeypatch.setattr(sys, "argv", ["full_size", str(record), str(tmp_path)])
    full_size.main()
    found = json.loads(record.read_text())["stages"]
    assert found["kept"] == {"seconds": 7}
    assert found["new"]["processor_seconds"] > 0
    # A child that was forked from a large process begins with that process's memory.
    assert found["new"]["peak_gb"] > 0.005


def test_a_stage_that_fails_ends_the_run(monkeypatch):
    with pytest.raises(SystemExit, match="no-such-command exited 2"):
        full_size.measure("engine", "no-such-command")
