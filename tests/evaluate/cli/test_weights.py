"""The command `weights`: a file that is checked."""

from __future__ import annotations


def test_weights_checks_a_file(in_process, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not these")
    done = in_process("evaluate", "weights", path)
    assert done.returncode == 2
    for words in (str(path), "9 bytes", "95,628,359 bytes with SHA-256 6726825d"):
        assert words in done.stderr
