"""Output folders must be new."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.folders import expect_new_folder


def test_a_new_or_empty_folder_passes(tmp_path):
    expect_new_folder(tmp_path)
    expect_new_folder(tmp_path / "new")


def test_what_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for path, found in ((tmp_path, "a folder that is not empty"), (tmp_path / "mine.txt", "a file")):
        with pytest.raises(RequestError, match="choose another folder") as caught:
            expect_new_folder(path)
        assert caught.value.found == found
