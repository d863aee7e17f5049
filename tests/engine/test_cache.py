"""The user's cache is optional."""

from __future__ import annotations

from engine.cache import cache_folder


def test_the_folder_lies_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("graphs") == tmp_path / "cytosynth/graphs"
    assert (tmp_path / "cytosynth/graphs").is_dir()


def test_a_cache_that_cannot_be_made_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder("graphs") is None
