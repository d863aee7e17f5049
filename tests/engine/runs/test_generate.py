"""What a run survives: kills, signals, full disks, stops."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import CytosynthError, RequestError
from engine.output.formats import FORMATS, Output
from engine.runs import generate as run
from tests.engine.folders import contents, pictures, wait_for_pictures
from tests.engine.runs.commands import long_run, wait_for_work


@pytest.fixture(scope="module")
def tiny_bundle(stochastic):
    """The tiny bundle with a decoder that draws grain: its noise must not depend on where a run stopped."""
    return stochastic / "bundle"


@pytest.fixture(scope="module")
def whole_run(in_process, tiny_bundle, tmp_path_factory):
    """A long run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert in_process(*long_run(tiny_bundle, out)).returncode == 0
    return out


def quick_job(bundle_folder):
    """As many pictures as those of a long run, in few steps."""
    settings = settings_of(batch_size=2, num_inference_steps=2, backend="openvino")
    return make_job(open_bundle(str(bundle_folder)), ["all"], 30, settings)


@pytest.fixture(scope="module")
def quick_run(tiny_bundle, tmp_path_factory):
    """A quick run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "quick"
    run.generate(quick_job(tiny_bundle), Output(out))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "file_format", [FORMATS[0], *(pytest.param(one, marks=pytest.mark.soak) for one in FORMATS[1:])]
)
@pytest.mark.parametrize(("kills", "n"), [(4, 40), pytest.param(20, 320, marks=pytest.mark.soak)])
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    kills, n, file_format, in_process, start_command, tiny_bundle, tmp_path
):
    # Random moments of a run's working time: from its first files to what an undisturbed run needs.
    moments = np.random.default_rng(0 if file_format == "imagefolder" else 1).uniform(0, 0.4, kills)
    moments[: kills // 4] = -1.0
    progress = []
    shards = ["--shard-pictures", str(n // 6)] if file_format == "webdataset" else []
    extra = ["--steps", "20", "--format", file_format, *shards]
    arguments = [*long_run(tiny_bundle, tmp_path / "out", n=n), *extra]
    for moment in moments:
        process = start_command(*arguments)
        if moment < 0:
            time.sleep(0.3)  # while it is still importing
        else:
            wait_for_work(process, tmp_path / "out")
            time.sleep(moment)
        process.kill()
        process.communicate()
        if (tmp_path / "out/metadata.jsonl").exists():
            progress.append(len((tmp_path / "out/metadata.jsonl").read_bytes().splitlines()))
            # A line that a kill tore in two must not count.
            with (tmp_path / "out/metadata.jsonl").open("a") as file:
                file.write('{"file_name": "cyt_')
    assert sum(0 < count < 2 * n for count in progress) >= kills // 2, progress
    assert len(set(progress)) >= kills // 3, progress
    assert in_process(*arguments).returncode == 0
    whole = tmp_path / "whole"
    assert in_process(*long_run(tiny_bundle, whole, n=n), *extra).returncode == 0
    left, right = (
        {name: digest for name, digest in contents(out).items() if name != "run.json"}
        for out in (tmp_path / "out", whole)
    )
    assert left == right


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_whole_files_and_says_how_to_go_on(
    number, in_process, start_command, tiny_bundle, tmp_path, whole_run
):
    out = tmp_path / "out"
    process = start_command(*long_run(tiny_bundle, out))
    wait_for_pictures(out, 5, process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "run the same command again to resume" in printed
    assert "Traceback" not in errors
    stood = pictures(out)
    assert 5 <= len(stood) < 60
    assert not list(out.rglob("*.part"))
    assert len((out / "metadata.jsonl").read_text().splitlines()) == len(stood)
    assert in_process(*long_run(tiny_bundle, out)).returncode == 0
    assert pictures(out) == pictures(whole_run)


def test_a_full_disk_leaves_whole_files_and_a_run_that_goes_on(tiny_bundle, tmp_path, monkeypatch, quick_run):
    job, write = quick_job(tiny_bundle), Path.write_bytes

    def full(path, content):
        if "000017" in path.name:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CytosynthError, match="No space left") as caught:
        run.generate(job, Output(tmp_path / "out"))
    assert "run the same command again" in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.part"))
    monkeypatch.undo()
    run.generate(job, Output(tmp_path / "out"))
    assert pictures(tmp_path / "out") == pictures(quick_run)


def test_a_really_full_disk(in_process, tiny_bundle, small_disk):
    out = small_disk / "out"
    done = in_process(*long_run(tiny_bundle, out), "--steps", 2)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.png.part"))
    for path in out.glob("*/*.png"):
        with Image.open(path) as picture:
            picture.load()


def test_one_run_in_two_halves_is_one_run(tiny_bundle, tmp_path, quick_run):
    """A run that stops after its first chunks and one that makes the rest equal one run."""
    job, stop = quick_job(tiny_bundle), threading.Event()
    first = run.generate(
        job,
        Output(tmp_path / "out"),
        stop=stop,
        progress=lambda task, done, *_: stop.set() if done >= 20 else None,
    )
    assert first.stopped
    assert 20 <= first.total < 60
    second = run.generate(job, Output(tmp_path / "out"))
    assert (second.made, second.total, second.stopped) == (60 - first.made, 60, False)
    assert pictures(tmp_path / "out") == pictures(quick_run)


def test_two_shards_are_one_run(in_process, tiny_bundle, tmp_path):
    """Seeds 0..7 and 8..15, made apart, are the files of seeds 0..15."""
    options = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--steps", 3, "--batch-size", 4]
    for name, seed, n in (("whole", 0, 16), ("one", 0, 8), ("two", 8, 8)):
        arguments = [*options, "--seed", seed, "--n", n, "--out", tmp_path / name]
        assert in_process("engine", "generate", *arguments).returncode == 0
    whole, one, two = (list(pictures(tmp_path / name).values()) for name in ("whole", "one", "two"))
    assert len(set(whole)) == 16
    assert one + two == whole


@pytest.mark.parametrize("name", ["context.cyt_nep_mast.safetensors", "tokenizer.json"])
def test_what_only_opening_shows_is_found_before_the_folder_is_touched(name, bundle_copy, tmp_path):
    """A file whose hash is right and whose content is not, of a class that comes late."""
    (bundle_copy / name).write_bytes(b"garbage")
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(b"garbage").hexdigest(), "bytes": 7}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    bundle = open_bundle(str(bundle_copy))
    with pytest.raises(RequestError, match="unreadable"):
        run.generate(
            make_job(bundle, ["all"], 1, settings_of(backend="openvino", prompt="cell")), Output(tmp_path / "out")
        )
    assert not (tmp_path / "out").exists()


def test_a_picture_that_was_taken_away_does_not_fail_a_finished_run(in_process, tiny_bundle, tmp_path):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 3, "--steps", 1, "--out", tmp_path / "out"]
    assert in_process("engine", "generate", *arguments).returncode == 0
    (tmp_path / "out/cyt_mast/000001.png").unlink()
    assert in_process("engine", "generate", *arguments).returncode == 0
    assert (tmp_path / "out/sheet.png").exists()
