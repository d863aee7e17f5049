"""The user's cache is optional, and nothing in it is used unchecked."""

from __future__ import annotations

import os
import time

import pytest

from engine import cache
from engine.cache import cache_folder, cached_file, read_cached, write_cached


def test_the_folder_lies_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("graphs") == tmp_path / "cytosynth/graphs"
    assert (tmp_path / "cytosynth/graphs").is_dir()


def test_a_cache_that_cannot_be_made_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder("graphs") is None


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A file of the cache with the content b"graph"."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cached_file("graphs", ["a graph", "version 1"])
    write_cached(path, b"graph")
    return path


def test_what_was_written_is_read(kept):
    assert read_cached(kept).tobytes() == b"graph"
    assert cached_file("graphs", ["a graph", "version 1"]) == kept


@pytest.mark.parametrize("damage", ["one letter", "cut", "empty", "longer", "of another key", "a folder"])
def test_a_damaged_file_counts_as_missing(kept, damage):
    content = kept.read_bytes()
    if damage == "of another key":
        other = cached_file("graphs", ["a graph", "version 2"])
        kept.rename(other)
        kept = other
    elif damage == "a folder":
        kept.unlink()
        kept.mkdir()
    else:
        changed = {"one letter": content[:-1] + b"H", "cut": content[:-2], "empty": b"", "longer": content + b"!"}
        kept.write_bytes(changed[damage])
    assert read_cached(kept) is None


def test_a_cache_that_cannot_be_written_is_no_failure(kept):
    kept.unlink()
    kept.mkdir()
    write_cached(kept, b"graph")
    assert [*kept.parent.iterdir()] == [kept]
    write_cached(None, b"graph")
    assert read_cached(None) is None


def test_files_that_were_not_used_for_long_make_room(kept, monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 150)
    long_ago = time.time() - 2 * cache.KEPT_S
    old = [cached_file("graphs", [f"old {number}"]) for number in range(3)]
    for age, path in enumerate(old):
        write_cached(path, b"graph")
        os.utime(path, (long_ago - age, long_ago - age))
    # What is read counts as used.
    assert read_cached(old[2]) is not None
    new = cached_file("graphs", ["new"])
    write_cached(new, b"graph")
    assert {path for path in (kept, *old, new) if path.exists()} == {kept, old[2], new}
