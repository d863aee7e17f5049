"""Fixtures that tests of several packages of the engine share."""

from __future__ import annotations

import subprocess

import pytest


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A user cache that no other test uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system: run as root")
    yield folder
    subprocess.run(["umount", folder], check=True)
