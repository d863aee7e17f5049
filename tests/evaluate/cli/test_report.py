"""The command `report`: its file and the requests that it refuses."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.slow


def test_the_command_leaves_real_pictures_out(records, in_process, tmp_path):
    arguments = ("--out", tmp_path / "report.html", "--no-real-pictures")
    assert in_process("evaluate", "report", records / "copies", *arguments).returncode == 0
    text = (tmp_path / "report.html").read_text()
    assert "Left out: it shows real pictures" in text
    assert len(re.findall("data:image", text)) == 1


def test_wrong_requests_exit_2(records, in_process, tmp_path):
    for arguments in (
        (tmp_path, "--out", tmp_path / "report.html"),
        (records / "score", "--out", tmp_path / "report.txt"),
        (records / "score", "--out", tmp_path / "nowhere" / "report.html"),
        (records, "--out", tmp_path / "report.html"),
    ):
        assert in_process("evaluate", "report", *arguments).returncode == 2
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    done = in_process("evaluate", "report", records / "score", "--out", tmp_path / "mine.html")
    assert done.returncode == 2
    assert (tmp_path / "mine.html").read_text() == "<p>mine</p>"
