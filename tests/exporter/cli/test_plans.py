"""`exporter plans list|check|remove`, on plans of a TensorRT that is not the installed one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engine.plans import write_plans

KEY = "sm86-rtx-1.7.1-b8"


def test_plans_are_listed_checked_and_removed(bundle_copy, in_process):
    assert "has no plans" in in_process("exporter", "plans", "list", bundle_copy).stdout
    folder = Path(write_plans(bundle_copy))
    listed = in_process("exporter", "plans", "list", bundle_copy)
    assert listed.returncode == 0
    for word in (KEY, "rtx 1.7.1", "8.6", "1 to 8", "32x32"):
        assert word in listed.stdout
    (folder / "step.onnx.plan").unlink()
    checked = in_process("exporter", "plans", "check", bundle_copy)
    assert checked.returncode == 1
    assert f"{KEY} is stale: step.onnx: the plan is missing" in checked.stdout
    (found,) = json.loads(in_process("exporter", "plans", "check", bundle_copy, "--json").stdout)["folders"]
    assert "step.onnx: the plan is missing" in found["problems"]
    assert found["batch_sizes"] == [1, 8]
    removed = in_process("exporter", "plans", "remove", bundle_copy, KEY)
    assert removed.returncode == 0
    assert f"{KEY}: removed" in removed.stdout
    assert not folder.exists()
    assert in_process("exporter", "plans", "check", bundle_copy).returncode == 0
    assert "No plan is stale." in in_process("exporter", "plans", "remove", bundle_copy, "--stale").stdout


def test_a_removal_needs_keys_or_stale(bundle_copy, in_process):
    folder = Path(write_plans(bundle_copy))
    for options in ([], [KEY, "--stale"], ["nothing"]):
        done = in_process("exporter", "plans", "remove", bundle_copy, *options)
        assert done.returncode == 2, options
        assert "expected:" in done.stderr
    assert folder.exists()
