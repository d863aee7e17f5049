"""The lock of a folder: it ends with its process, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.errors import RequestError
from engine.locks import locked_folder


def test_a_lock_holds_until_its_process_ends_and_leaves_nothing(tmp_path):
    folder = tmp_path / "out"
    code = f"from engine.locks import lock_folder; import pathlib, time; lock_folder(pathlib.Path({str(folder)!r}));"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", f"{code} print('locked', flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RequestError, match="another process"), locked_folder(folder):
            pass
        other.kill()
        other.wait()
    with locked_folder(folder):
        assert list(folder.iterdir()) == []
    assert folder.is_dir()


def test_a_folder_that_was_made_for_a_lock_goes_unless_something_was_written(tmp_path):
    with locked_folder(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked_folder(tmp_path / "a/b"):
        (tmp_path / "a/b/x").write_text("x")
    assert (tmp_path / "a/b/x").exists()
    with pytest.raises(RequestError, match="a file"), locked_folder(tmp_path / "a/b/x"):
        pass
