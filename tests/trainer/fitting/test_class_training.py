"""What `fit` and `embed` check before they train: the folder of the class, and the lock of the output folder."""

from __future__ import annotations

import json

import pytest

from engine.locks import locked_folder
from tests.trainer.fitting.examples import SHORT


@pytest.mark.parametrize("command", ["fit", "embed"])
def test_the_folder_above_a_class_is_refused_with_the_command_that_is_right(command, in_process, whole_path, tmp_path):
    arguments = [whole_path / "prepared", "--base", whole_path / "base", "--out", tmp_path / "out", *SHORT]
    done = in_process("trainer", command, *arguments)
    assert done.returncode == 2, done.stderr
    assert f"such as {whole_path / 'prepared/cyt_mast'}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["fit", "embed"])
def test_a_second_process_in_the_same_folder_is_refused(command, in_process, whole_path, tmp_path):
    arguments = [whole_path / "prepared/cyt_mast", "--base", whole_path / "base", "--out", tmp_path / "out", *SHORT]
    with locked_folder(tmp_path / "out"):
        done = in_process("trainer", command, *arguments)
        assert done.returncode == 2, done.stderr
        assert "another process that is writing" in done.stderr
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_long_prompts_and_unknown_words_are_said_and_recorded(fit_it, tmp_path):
    done = fit_it("out", *SHORT, "--prompt", "cyt mast cyt mast cyt mast blob")
    assert done.returncode == 0, done.stderr
    assert "It was cut" in done.stderr
    assert json.loads((tmp_path / "out/cyst.json").read_text())["record"]["prompt"] == "cyt mast cyt mast cyt mast"
    (tmp_path / "t.txt").write_text("cyt blob cell")
    done = fit_it("other", *SHORT, "--template", tmp_path / "t.txt")
    assert "never learnt these words of the captions: blob, cell" in done.stderr
    captions = json.loads((tmp_path / "other/cyst.json").read_text())["captions"]
    assert captions["cut"] == {"cyt blob cell": "cyt blob"}
    assert captions["unknown_words"] == ["blob", "cell"]
