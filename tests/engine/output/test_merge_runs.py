"""`generate --shard` and `merge-runs`: separate pieces become the run that one process would write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.locks import lock_folder
from engine.output.merge_runs import merge_runs
from tests.conftest import ROOT
from tests.engine.folders import contents

FORMATS = {"imagefolder": [], "webdataset": ["--format", "webdataset", "--shard-pictures", 4]}


@pytest.fixture(scope="module", params=FORMATS)
def made(request, in_process, tiny_bundle, tmp_path_factory):
    """The same run in one and in three pieces, which end inside classes and tar shards. Tests must not change it."""
    root = tmp_path_factory.mktemp("pieces")
    words = ["engine", "generate", "--bundle", tiny_bundle, "--class", "all", "--n", 7, "--seed", 3, "--steps", 2]
    words += ["--batch-size", 2, *FORMATS[request.param]]
    for out, extra in [("whole", []), *(("apart", ["--shard", f"{number}/3"]) for number in (2, 1, 3))]:
        done = in_process(*words, "--out", root / out, *extra)
        assert done.returncode == 0, done.stderr
    return root, words


@pytest.fixture
def apart(made, tmp_path):
    return shutil.copytree(made[0] / "apart", tmp_path / "apart")


def without_times(folder):
    """The files of a run, and run.json's identity."""
    files = contents(folder)
    files.pop("run.json")
    return files, json.loads((folder / "run.json").read_text())["identity"]


def test_joined_pieces_are_the_run_of_one_process_and_continue_it(made, apart, in_process):
    root, words = made
    done = in_process("engine", "merge-runs", apart)
    assert done.returncode == 0, done.stderr
    assert "3 pieces joined: 14 synthetic pictures" in done.stdout
    assert without_times(apart) == without_times(root / "whole")
    again = in_process(*words, "--out", apart, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["made"] == 0


@pytest.mark.parametrize("made", ["imagefolder"], indirect=True)
def test_the_script_for_slurm_makes_the_run(made, tmp_path, in_process):
    root, words = made
    script = (ROOT / "recipes/examples/array.sh").read_text()
    assert "--array=1-16" in script
    (tmp_path / "array.sh").write_text(script.replace("pieces=16", "pieces=2"))
    for number in (1, 2):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(number), "SLURM_CPUS_PER_TASK": str(threads(root))}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        arguments = ["bash", tmp_path / "array.sh", tmp_path / "out", *words[2:]]
        done = subprocess.run([*map(str, arguments)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert in_process("engine", "merge-runs", tmp_path / "out").returncode == 0
    assert without_times(tmp_path / "out") == without_times(root / "whole")


def threads(root):
    return json.loads((root / "whole/run.json").read_text())["identity"]["threads"]


def damaged(folder, kind):
    piece = folder / "pieces/000002-of-000003"
    metadata = piece / "metadata.jsonl"
    lines = metadata.read_text().splitlines(keepends=True)
    run = json.loads((piece / "run.json").read_text())
    if kind == "missing piece":
        shutil.rmtree(piece)
    elif kind == "not finished":
        (piece / "run.json").write_text(json.dumps({**run, "complete": False}))
    elif kind == "another run":
        run["identity"]["guidance_scale"] = 9
        (piece / "run.json").write_text(json.dumps(run))
    elif kind == "doubled":
        metadata.write_text("".join([*lines, lines[-1]]))
    elif kind == "a line missing":
        metadata.write_text("".join(lines[1:]))
    elif kind == "another seed":
        metadata.write_text("".join([json.dumps({**json.loads(lines[0]), "seed": 99}) + "\n", *lines[1:]]))
    elif kind == "a path":
        run["identity"]["class_names"] = ["../x", "y"]
        (piece / "run.json").write_text(json.dumps(run))
    elif kind == "no seconds":
        (piece / "run.json").write_text(json.dumps({key: value for key, value in run.items() if key != "seconds"}))
    elif kind == "a failure that is no object":
        (piece / "failed.jsonl").write_text("[]\n")
    elif kind == "a failure without its seed":
        (piece / "failed.jsonl").write_text('{"chunk": 3, "class": "cyt_mast"}\n')
    elif kind == "a line that is no object":
        metadata.write_text("".join(["[]\n", *lines[1:]]))
    elif kind == "no picture":
        next(path for path in sorted(piece.rglob("*")) if path.suffix in (".png", ".tar")).unlink()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing piece", "missing 2/3"),
        ("not finished", "not finished"),
        ("another run", "another run"),
        ("doubled", "the additional picture"),
        ("a line missing", "each picture once"),
        ("another seed", "seed 99"),
        ("a path", "describes no run"),
        ("no seconds", "without its seconds"),
        ("a failure that is no object", "failed.jsonl that is no JSON object"),
        ("a failure without its seed", "without class or seed"),
        ("a line that is no object", "metadata.jsonl that is no JSON object"),
        ("no picture", "make"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind, words, apart, in_process):
    damaged(apart, kind)
    done = in_process("engine", "merge-runs", apart)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert [path.name for path in apart.iterdir() if path.suffix != ".part"] == ["pieces"]


def test_a_killed_merge_goes_on(made, apart, in_process, monkeypatch):
    if (made[0] / "whole/_info.json").exists():
        pytest.skip("needs nothing: shards have no such moment, since a merge writes them from the start")
    piece = apart / "pieces/000001-of-000003"
    (apart / "cyt_mast").mkdir()
    (piece / "cyt_mast/000000.png").rename(apart / "cyt_mast/000000.png")
    assert in_process("engine", "merge-runs", apart).returncode == 0
    assert without_times(apart) == without_times(made[0] / "whole")


def test_a_merge_that_was_killed_while_it_removed_the_pieces_is_done(made, apart, in_process, monkeypatch):
    def killed(folder):
        original(next(folder.iterdir()))
        raise KeyboardInterrupt

    original = shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_runs(apart)
    for _ in range(2):
        done = in_process("engine", "merge-runs", apart)
        assert done.returncode == 0, done.stderr
        assert "3 pieces joined: 14 synthetic pictures" in done.stdout
        assert without_times(apart) == without_times(made[0] / "whole")


def test_another_run_in_the_folder_is_kept(made, apart, in_process, tmp_path):
    _, words = made
    other = tmp_path / "other"
    assert in_process(*words, "--guidance-scale", 3, "--out", other).returncode == 0
    before = contents(other)
    done = in_process(*words, "--out", other, "--shard", "1/3")
    assert done.returncode == 2
    assert "guidance_scale 3.0 in the existing run" in done.stderr
    assert contents(other) == before
    (apart / "pieces").rename(other / "pieces")
    before = contents(other)
    done = in_process("engine", "merge-runs", other)
    assert done.returncode == 2
    assert "guidance_scale 3.0 in the existing run" in done.stderr
    assert contents(other) == before


def test_one_merge_at_a_time(apart, in_process):
    lock_file = lock_folder(apart)
    if lock_file is None:
        pytest.skip("needs file locks of Unix, which no package provides")
    done = in_process("engine", "merge-runs", apart)
    os.close(lock_file)
    assert done.returncode == 2
    assert "another process" in done.stderr


def test_a_line_separator_in_a_prompt_cuts_no_line(in_process, tiny_bundle, tmp_path):
    words = ["engine", "generate", "--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--steps", 1]
    words += ["--prompt", "a\u2028cell\u0085", "--batch-size", 1]
    for out, extra in [("whole", []), *(("apart", ["--shard", f"{number}/2"]) for number in (1, 2))]:
        done = in_process(*words, "--out", tmp_path / out, *extra)
        assert done.returncode == 0, done.stderr
    done = in_process("engine", "merge-runs", tmp_path / "apart")
    assert done.returncode == 0, done.stderr
    assert without_times(tmp_path / "apart") == without_times(tmp_path / "whole")


def test_a_piece_goes_on_and_a_folder_of_pieces_is_no_run(made, apart, in_process):
    _, words = made
    done = in_process(*words, "--out", apart, "--shard", "2/3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"] == 0
    assert in_process(*words, "--out", apart).returncode == 2
    assert in_process("engine", "merge-runs", made[0] / "whole").returncode == 2
