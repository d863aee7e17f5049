"""The output folder: which folders are refused, and what a new run removes or keeps."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import CytosynthError
from engine.output.formats import Output
from engine.runs import generate as run
from tests.engine.folders import pictures, wait_for_pictures
from tests.engine.poisoned import keep_bad, poisoned_run
from tests.engine.runs.commands import long_run


def test_a_read_only_folder_is_refused_and_left_as_it_is(in_process, tiny_bundle, small_disk):
    out = small_disk / "out"
    options = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--steps", 1, "--n", 3]
    assert in_process("engine", "generate", *options, "--out", out).returncode == 0
    (out / "cyt_mast/000002.png").unlink()
    lines = (out / "metadata.jsonl").read_text().splitlines(keepends=True)
    (out / "metadata.jsonl").write_text("".join(lines[:2]))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for folder in (out, small_disk / "new"):
        done = in_process("engine", "generate", *options, "--out", folder)
        assert done.returncode == 2, done.stderr
        assert "not writable" in done.stderr
        assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_with_shared_noise_is_continued_with_shared_noise_only(in_process, tiny_bundle, tmp_path):
    """Runs of earlier versions are such runs, and do not say so."""
    arguments = ["engine", "generate", "--bundle", tiny_bundle, "--class", "all", "--n", 1, "--steps", 1]
    out = ["--out", tmp_path / "out"]
    done = in_process(*arguments, "--shared-noise", *out)
    assert done.returncode == 0, done.stderr
    assert "shared_noise" not in json.loads((tmp_path / "out/run.json").read_text())["identity"]
    before = pictures(tmp_path / "out")
    done = in_process(*arguments, *out)
    assert done.returncode == 2
    assert "shared_noise True in the existing run, False requested" in done.stderr
    done = in_process(*arguments, "--shared-noise", *out)
    assert (done.returncode, "0 of them new" in done.stdout) == (0, True), done.stderr
    assert pictures(tmp_path / "out") == before
    done = in_process(*arguments, *out, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/run.json").read_text())["identity"]["shared_noise"] is False
    assert not set(before.values()) & set(pictures(tmp_path / "out").values())


def test_a_replaced_run_leaves_nothing_even_if_it_is_killed_at_it(tiny_bundle, tmp_path, monkeypatch):
    bundle = open_bundle(str(tiny_bundle))

    def job(n):
        return make_job(bundle, ["all"], n, settings_of(num_inference_steps=1, backend="openvino"))

    run.generate(job(9), Output(tmp_path))
    unlink, gone = Path.unlink, []

    def killed(path, **options):
        if len(gone) == 3:
            raise KeyboardInterrupt
        gone.append(path)
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        run.generate(job(2), Output(tmp_path, overwrite=True))
    monkeypatch.undo()
    run.generate(job(2), Output(tmp_path))
    assert len(pictures(tmp_path)) == 4
    assert "replaces" not in json.loads((tmp_path / "run.json").read_text())


def test_a_disk_that_is_full_from_the_start_is_a_failure_that_says_so(tiny_bundle, tmp_path, monkeypatch):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["all"], 1, settings_of(backend="openvino"))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(CytosynthError, match="No space left") as caught:
        run.generate(job, Output(tmp_path / "out"))
    assert caught.value.exit_code == 1


def test_overwrite_leaves_numbered_files_that_are_not_the_runs(in_process, tiny_bundle, tmp_path):
    out = tmp_path / "out"
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--steps", 1, "--out", out]
    shards = ["--format", "webdataset"]
    assert in_process("engine", "generate", *arguments, *shards).returncode == 0
    foreign = ["holiday/IMG-20240101.png", "real/20240101.png", "backup-20240101.tar"]
    for name in foreign:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    assert in_process("engine", "generate", *arguments, "--overwrite").returncode == 0
    assert {name for name in foreign if (out / name).read_text() == "mine"} == set(foreign)
    assert not (out / "bundle-000000.tar").exists()
    assert len(list((out / "cyt_mast").glob("*.png"))) == 2


def test_a_second_process_is_kept_out_of_the_folder(in_process, start_command, tiny_bundle, tmp_path):
    first = start_command(*long_run(tiny_bundle, tmp_path / "out"))
    wait_for_pictures(tmp_path / "out", 1, first)
    second = in_process(*long_run(tiny_bundle, tmp_path / "out"))
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert second.returncode == 2
    assert "another process" in second.stderr


@pytest.mark.parametrize("left", [["run.json.part"], ["run.json.part", "metadata.jsonl.part"]])
def test_a_folder_of_a_run_killed_at_its_start_is_free(left, in_process, tiny_bundle, tmp_path):
    for name in left:
        (tmp_path / name).write_text("{")
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 1, "--out", tmp_path]
    assert in_process("engine", "generate", *arguments).returncode == 0


def test_a_torn_record_of_failures_is_repaired(tiny_bundle, tmp_path, monkeypatch):
    keep_bad(monkeypatch)
    out = tmp_path / "out"
    poisoned_run(tiny_bundle, out)
    whole = (out / "failed.jsonl").read_text()
    (out / "failed.jsonl").write_text(whole + '{"chunk": 2, "cl')
    assert poisoned_run(tiny_bundle, out).failed == 1
    assert (out / "failed.jsonl").read_text() == whole
    separated = whole.replace("not finite", "not\u2028finite")
    (out / "failed.jsonl").write_text(separated, encoding="utf-8")
    assert poisoned_run(tiny_bundle, out).failed == 1
    (out / "failed.jsonl").write_text("nonsense\n")
    with pytest.raises(CytosynthError, match="failed"):
        poisoned_run(tiny_bundle, out)
