"""Files are whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat

import pytest

from engine.errors import RequestError
from engine.files import (
    contents_of,
    expect_folder_of,
    expect_place,
    is_hidden,
    is_system_file,
    replace_file,
    replace_folder,
    sha256_of,
    write_json,
)


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


@pytest.mark.parametrize("name", ["._cell.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir"])
def test_names_of_operating_systems_are_known(name):
    assert is_system_file(name)
    assert is_hidden(name)


def test_a_users_own_hidden_file_is_no_system_file(tmp_path):
    (tmp_path / ".mine").write_text("x")
    (tmp_path / ".DS_Store").write_text("x")
    assert is_hidden(".mine")
    assert contents_of(tmp_path) == [tmp_path / ".mine"]


def test_a_folder_is_whole_or_absent(tmp_path):
    out = tmp_path / "out"
    with contextlib.suppress(OSError), replace_folder(out) as part:
        (part / "half").write_text("half")
        raise OSError(28, "No space left on device")
    assert [*tmp_path.iterdir()] == []
    with replace_folder(out) as part:
        (part / "whole").write_text("whole")
        assert not out.exists()
    assert [*tmp_path.rglob("*")] == [out, out / "whole"]


def test_what_a_killed_command_left_does_not_stop_the_next(tmp_path):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/half").write_text("half")
    (tmp_path / "out").mkdir()
    with replace_folder(tmp_path / "out") as part:
        (part / "whole").write_text("whole")
    assert [*tmp_path.rglob("*")] == [tmp_path / "out", tmp_path / "out/whole"]


def test_a_device_or_pipe_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RequestError, match="a device or a pipe"):
        expect_place(pipe)
    with pytest.raises(RequestError, match="no regular file"), replace_file(pipe):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("n" * 256, "a name of 256 bytes"),
        ("ü" * 128, "a name of 256 bytes"),
        ("a\0b", "a NUL byte"),
        (os.fsdecode(b"zell\xe9"), "bytes that are no UTF-8"),
        ("file/inside", "not a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, name, found):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / name, tmp_path / name / "x.json"):
        with pytest.raises(RequestError) as caught:
            expect_place(path)
        assert found in caught.value.found
        str(caught.value).encode()
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def test_a_folder_where_a_file_is_expected_is_refused(tmp_path):
    with pytest.raises(RequestError, match="name a file"):
        expect_folder_of(tmp_path)
