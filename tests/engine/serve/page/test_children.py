"""Child processes and their logs."""

from __future__ import annotations

from engine.serve.page.children import Child


def test_a_child_writes_into_its_log_and_succeeds(tmp_path):
    child = Child(["engine", "--version"], tmp_path / "log.txt")
    child.wait(60)
    assert child.succeeded
    assert "cytosynth" in child.last_lines()


def test_a_wrong_command_does_not_succeed_and_says_why(tmp_path):
    child = Child(["engine", "info", "none"], tmp_path / "log.txt")
    child.wait(60)
    assert not child.running
    assert not child.succeeded
    assert "error: " in child.output()


def test_a_child_is_stopped(tmp_path):
    child = Child(["http.server", "0"], tmp_path / "log.txt")
    child.stop()
    assert not child.running
    assert not child.succeeded
