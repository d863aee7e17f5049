"""Files are whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest

from engine.errors import RequestError
from engine.files import expect_folder_of, replace_file, sha256_of, write_json


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"name": "Zelle ä"})
    with contextlib.suppress(ZeroDivisionError), replace_file(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"name": "Zelle ä"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_succeeds_replaces_the_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with replace_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert sha256_of(path) == hashlib.sha256(b"new").hexdigest()


def test_a_file_in_a_missing_folder_is_refused(tmp_path):
    expect_folder_of(tmp_path / "x.json")
    with pytest.raises(RequestError, match="create the folder"):
        expect_folder_of(tmp_path / "absent/x.json")
