"""The comparison of two engines finds every difference, and accepts only the named fields."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.scripts import same_bytes

ENGINE = """#!{python}
import json, sys
from pathlib import Path

if sys.argv[1] == "info":
    print(json.dumps({{"classes": {{"one": {{}}, "two": {{}}}}, "width": 32, "height": 32}}))
elif "--help" in sys.argv:
    print("options: {knows}")
elif sys.argv[1] == "generate":
    shared = "--shared-noise" in sys.argv or not "{knows}"
    sys.argv = [word for word in sys.argv if word != "--shared-noise"]
    options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    words = [word for word in sys.argv if word not in sys.argv[-1:]][1:]
    (out / "picture.png").write_bytes(repr([shared, *words]).encode())
    run = {{"seconds": {seconds}, "versions": {{}}, "identity": {{"seed": {seed}}}}}
    (out / "run.json").write_text(json.dumps(run))
"""


def engine(folder, seconds, seed, knows="--shared-noise"):
    folder.mkdir()
    path = folder / "engine"
    path.write_text(ENGINE.format(python=sys.executable, seconds=seconds, seed=seed, knows=knows))
    path.chmod(0o755)
    return str(path)


def test_equal_engines_pass_and_a_changed_one_fails(tmp_path, monkeypatch, capsys):
    old = engine(tmp_path / "old", 1.0, 0)
    monkeypatch.setattr(sys, "argv", ["same_bytes", old, engine(tmp_path / "new", 2.0, 0)])
    same_bytes.main()
    assert "All 12 requests made the same files." in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["same_bytes", old, engine(tmp_path / "changed", 2.0, 1)])
    with pytest.raises(SystemExit, match="12 of 12"):
        same_bytes.main()
    assert "run.json differs" in capsys.readouterr().out


def test_an_engine_that_knows_noise_by_class_is_asked_for_the_noise_of_one_that_does_not(tmp_path, monkeypatch):
    engines = [engine(tmp_path / "old", 1.0, 0, knows=""), engine(tmp_path / "new", 1.0, 0)]
    for pair in (engines, engines[::-1]):
        monkeypatch.setattr(sys, "argv", ["same_bytes", *pair])
        same_bytes.main()


def test_missing_and_changed_files_are_named(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name / "cyst").mkdir(parents=True)
        (tmp_path / name / "cyst/0.png").write_bytes(name.encode())
        (tmp_path / name / "run.json").write_text(json.dumps({"seconds": name, "failed": 0}))
    (tmp_path / "new/sheet.png").write_bytes(b"")
    count, lines = same_bytes.differences(tmp_path / "old", tmp_path / "new")
    assert (count, lines) == (3, ["sheet.png only in NEW", "cyst/0.png differs"])


def test_there_are_twelve_requests_of_different_kinds():
    assert len({request.options for request in same_bytes.REQUESTS}) == len(same_bytes.REQUESTS) == 12
