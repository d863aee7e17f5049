"""Output folders must be new."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.folders import expect_new_folder, new_folder


def test_a_new_or_empty_folder_passes(tmp_path):
    expect_new_folder(tmp_path)
    expect_new_folder(tmp_path / "new")


def test_what_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for path, found in ((tmp_path, "a folder that is not empty: mine.txt"), (tmp_path / "mine.txt", "a file")):
        with pytest.raises(RequestError, match="choose another folder") as caught:
            expect_new_folder(path)
        assert caught.value.found == found


def test_files_of_the_operating_system_do_not_count(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._x.png"):
        (tmp_path / name).write_bytes(b"x")
    expect_new_folder(tmp_path)
    (tmp_path / ".gitignore").write_text("mine")
    with pytest.raises(RequestError, match="gitignore"):
        expect_new_folder(tmp_path)


def test_a_new_folder_is_locked_and_goes_if_nothing_was_written(tmp_path):
    with (
        new_folder(tmp_path / "a/b"),
        pytest.raises(RequestError, match="another process"),
        new_folder(tmp_path / "a/b"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
