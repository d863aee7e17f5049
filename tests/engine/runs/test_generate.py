"""What a run survives: kills, signals, bad pictures, full disks."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.request import make_request
from engine.errors import CytosynthError, RequestError
from engine.output.formats import FORMATS, Output
from engine.pipeline import rescue
from engine.runs import generate as run
from engine.runs import production
from tests.conftest import ROOT
from tests.engine.folders import bytes_in, contents, pictures, wait_for_pictures


def long_run(bundle: Path, out: Path, n: int = 30) -> list[str]:
    wanted = ["--bundle", bundle, "--class", "all", "--n", n, "--batch-size", 2, "--out", out]
    return ["engine", "generate", *map(str, wanted)]


@pytest.fixture(scope="module")
def whole_run(command, tiny_bundle, tmp_path_factory):
    """A long run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert command(*long_run(tiny_bundle, out)).returncode == 0
    return out


def wait_for_work(process: subprocess.Popen[str], out: Path) -> None:
    """Until this process has opened its models and written the first line or picture of its own."""
    before, deadline = bytes_in(out), time.monotonic() + 60
    while bytes_in(out) <= before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_run_killed_at_twenty_random_moments_ends_with_the_same_bytes(
    file_format, command, start_command, tiny_bundle, tmp_path
):
    # Random moments of a run's working time: from its first files to what an undisturbed run needs.
    moments = np.random.default_rng(0 if file_format == "imagefolder" else 1).uniform(0, 0.4, 20)
    moments[:2] = -1.0
    progress = []
    shards = ["--shard-pictures", "50"] if file_format == "webdataset" else []
    extra = ["--steps", "20", "--format", file_format, *shards]
    arguments = [*long_run(tiny_bundle, tmp_path / "out", n=320), *extra]
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
    assert sum(0 < count < 640 for count in progress) >= 10, progress
    assert len(set(progress)) >= 6, progress
    assert command(*arguments).returncode == 0
    whole = tmp_path / "whole"
    assert command(*long_run(tiny_bundle, whole, n=320), *extra).returncode == 0
    left, right = (
        {name: digest for name, digest in contents(out).items() if name != "run.json"}
        for out in (tmp_path / "out", whole)
    )
    assert left == right


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_whole_files_and_says_how_to_go_on(
    number, command, start_command, tiny_bundle, tmp_path, whole_run
):
    out = tmp_path / "out"
    process = start_command(*long_run(tiny_bundle, out))
    wait_for_pictures(out, 5, process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "The same command continues the run" in printed
    assert "Traceback" not in errors
    stood = pictures(out)
    assert 5 <= len(stood) < 60
    assert not list(out.rglob("*.part"))
    assert len((out / "metadata.jsonl").read_text().splitlines()) == len(stood)
    assert command(*long_run(tiny_bundle, out)).returncode == 0
    assert pictures(out) == pictures(whole_run)


class Poisoned:
    """OpenVINO whose decoder spoils pictures: `spoil(images, finite, call)` changes both in place."""

    name, version, device = "openvino", "poisoned", None

    def __init__(self, spoil):
        self._inner, self._spoil, self._calls = OpenVINOBackend(precision="f32"), spoil, 0

    def open(self, path, inputs, outputs):
        model = self._inner.open(path, inputs, outputs)
        if "finite" in outputs:
            run = model.run

            def spoilt(arrays):
                result = run(arrays)
                self._spoil(result["images"], result["finite"], self._calls)
                self._calls += 1
                return result

            model.run = spoilt
        return model


def spoil_two(images, finite, call):
    """In the second chunk, the first picture is not finite and the third is blank."""
    if call == 1:
        finite[0] = False
        images[2] = 7


def poisoned_run(bundle_folder, out, **options):
    bundle = open_bundle(str(bundle_folder))
    request = make_request(
        bundle.manifest, class_names=["cyt_mast"], n=11, batch_size=4, backend="openvino", precision="auto", **options
    )
    return run.generate(bundle, request, Output(out), backend=Poisoned(spoil_two))


def test_bad_pictures_are_made_again_in_float32_and_say_so(tiny_bundle, tmp_path):
    result = poisoned_run(tiny_bundle, tmp_path / "out")
    assert (result.made, result.failed, result.stopped) == (11, 0, False)
    rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
    rescued = {row["seed"]: row["rescued"] for row in rows if "rescued" in row}
    assert rescued == {4: "openvino f32, was not finite", 6: "openvino f32, was blank"}
    with Image.open(tmp_path / "out/cyt_mast/000006.png") as picture:
        assert np.ptp(np.asarray(picture)) > 3
        assert json.loads(picture.text["cytosynth"])["rescued"] == rescued[6]


@pytest.fixture
def stubborn_rescue(monkeypatch):
    """A rescue whose first picture of every chunk stays bad."""

    def spoil_first(images, finite, call):
        finite[0] = False

    stubborn = functools.partial(rescue.Rescue, open_cpu=lambda bundle, request: Poisoned(spoil_first))
    monkeypatch.setattr(production, "Rescue", stubborn)


@pytest.mark.usefixtures("stubborn_rescue")
def test_a_seed_that_stays_bad_is_recorded_and_the_run_goes_on(tiny_bundle, tmp_path):
    out = tmp_path / "out"
    result = poisoned_run(tiny_bundle, out)
    assert (result.made, result.total, result.failed) == (10, 10, 1)
    failed = json.loads((out / "failed.jsonl").read_text())
    assert failed == {"chunk": 1, "class": "cyt_mast", "seed": 4, "reason": "not finite"}
    assert not (out / "cyt_mast/000004.png").exists()
    assert json.loads((out / "run.json").read_text())["failed"] == 1
    before = contents(out)
    again = poisoned_run(tiny_bundle, out)
    assert (again.made, again.failed) == (0, 1)
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} <= {"run.json"}


def test_a_full_disk_leaves_whole_files_and_a_run_that_goes_on(tiny_bundle, tmp_path, monkeypatch, whole_run):
    bundle = open_bundle(str(tiny_bundle))
    request = make_request(bundle.manifest, class_names=["all"], n=30, batch_size=2, backend="openvino")
    write = Path.write_bytes

    def full(path, content):
        if "000017" in path.name:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CytosynthError, match="No space left") as caught:
        run.generate(bundle, request, Output(tmp_path / "out"))
    assert "the same command goes on" in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.part"))
    monkeypatch.undo()
    run.generate(bundle, request, Output(tmp_path / "out"))
    assert pictures(tmp_path / "out") == pictures(whole_run)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_really_full_disk(command, tiny_bundle, small_disk):
    out = small_disk / "out"
    done = command(*long_run(tiny_bundle, out))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.png.part"))
    for path in out.glob("*/*.png"):
        with Image.open(path) as picture:
            picture.load()


def test_a_read_only_folder_is_refused_and_left_as_it_is(command, tiny_bundle, small_disk):
    out = small_disk / "out"
    options = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--steps", 1, "--n", 3]
    assert command("engine", "generate", *options, "--out", out).returncode == 0
    (out / "cyt_mast/000002.png").unlink()
    lines = (out / "metadata.jsonl").read_text().splitlines(keepends=True)
    (out / "metadata.jsonl").write_text("".join(lines[:2]))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for folder in (out, small_disk / "new"):
        done = command("engine", "generate", *options, "--out", folder)
        assert done.returncode == 2, done.stderr
        assert "not writable" in done.stderr
        assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_one_run_in_two_halves_is_one_run(tiny_bundle, tmp_path, whole_run):
    """A run that stops after its first chunks and one that makes the rest equal one run."""
    bundle = open_bundle(str(tiny_bundle))
    request = make_request(bundle.manifest, class_names=["all"], n=30, batch_size=2, backend="openvino")
    stop = threading.Event()
    first = run.generate(
        bundle,
        request,
        Output(tmp_path / "out"),
        stop=stop,
        progress=lambda done, total, name: stop.set() if done >= 20 else None,
    )
    assert first.stopped
    assert 20 <= first.total < 60
    second = run.generate(bundle, request, Output(tmp_path / "out"))
    assert (second.made, second.total, second.stopped) == (60 - first.made, 60, False)
    assert pictures(tmp_path / "out") == pictures(whole_run)


def test_two_shards_are_one_run(command, tiny_bundle, tmp_path):
    """Seeds 0..7 and 8..15, made apart, are the files of seeds 0..15."""
    options = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--steps", 3, "--batch-size", 4]
    for name, seed, n in (("whole", 0, 16), ("one", 0, 8), ("two", 8, 8)):
        arguments = [*options, "--seed", seed, "--n", n, "--out", tmp_path / name]
        assert command("engine", "generate", *arguments).returncode == 0
    whole, one, two = (list(pictures(tmp_path / name).values()) for name in ("whole", "one", "two"))
    assert len(set(whole)) == 16
    assert one + two == whole


def test_a_replaced_run_leaves_nothing_even_if_it_is_killed_at_it(tiny_bundle, tmp_path, monkeypatch):
    bundle = open_bundle(str(tiny_bundle))

    def request(n):
        return make_request(bundle.manifest, class_names=["all"], n=n, num_inference_steps=1, backend="openvino")

    run.generate(bundle, request(9), Output(tmp_path))
    unlink, gone = Path.unlink, []

    def killed(path, **options):
        if len(gone) == 3:
            raise KeyboardInterrupt
        gone.append(path)
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        run.generate(bundle, request(2), Output(tmp_path, overwrite=True))
    monkeypatch.undo()
    run.generate(bundle, request(2), Output(tmp_path))
    assert len(pictures(tmp_path)) == 4
    assert "replaces" not in json.loads((tmp_path / "run.json").read_text())


def test_a_disk_that_is_full_from_the_start_is_a_failure_that_says_so(tiny_bundle, tmp_path, monkeypatch):
    bundle = open_bundle(str(tiny_bundle))
    request = make_request(bundle.manifest, class_names=["all"], n=1, backend="openvino")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(CytosynthError, match="No space left") as caught:
        run.generate(bundle, request, Output(tmp_path / "out"))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", ["context.cyt_nep_mast.safetensors", "tokenizer.json"])
def test_what_only_opening_shows_is_found_before_the_folder_is_touched(name, bundle_copy, tmp_path):
    """A file whose hash is right and whose content is not, of a class that comes late."""
    (bundle_copy / name).write_bytes(b"garbage")
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(b"garbage").hexdigest(), "bytes": 7}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    bundle = open_bundle(str(bundle_copy))
    request = make_request(bundle.manifest, class_names=["all"], n=1, backend="openvino", prompt="cell")
    with pytest.raises(RequestError, match="unreadable"):
        run.generate(bundle, request, Output(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_signal_after_models_were_closed_in_another_thread_is_survived(tiny_bundle):
    """OpenVINO's plugin, where it is destroyed by another thread, leaves this one without its signal stack."""
    script = f"""
import os, signal, threading
from engine import Engine
engine = Engine.open({str(tiny_bundle)!r}, backend="openvino")
heard, held = [], []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
def finish():
    held.pop().close()
for _ in range(3):
    held.append(engine.generate("cyt_mast", 9, num_inference_steps=1))
    next(held[0])
    thread = threading.Thread(target=finish)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGUSR1)
print("heard", len(heard))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "heard 3\n"), done.stderr


def test_overwrite_leaves_numbered_files_that_are_not_the_runs(command, tiny_bundle, tmp_path):
    out = tmp_path / "out"
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--steps", 1, "--out", out]
    shards = ["--format", "webdataset"]
    assert command("engine", "generate", *arguments, *shards).returncode == 0
    foreign = ["holiday/IMG-20240101.png", "real/20240101.png", "backup-20240101.tar"]
    for name in foreign:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    assert command("engine", "generate", *arguments, "--overwrite").returncode == 0
    assert {name for name in foreign if (out / name).read_text() == "mine"} == set(foreign)
    assert not (out / "bundle-000000.tar").exists()
    assert len(list((out / "cyt_mast").glob("*.png"))) == 2


def test_a_second_process_is_kept_out_of_the_folder(command, start_command, tiny_bundle, tmp_path):
    first = start_command(*long_run(tiny_bundle, tmp_path / "out"))
    wait_for_pictures(tmp_path / "out", 1, first)
    second = command(*long_run(tiny_bundle, tmp_path / "out"))
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert second.returncode == 2
    assert "another process" in second.stderr


@pytest.mark.parametrize("left", [["run.json.part"], ["run.json.part", "metadata.jsonl.part"]])
def test_a_folder_of_a_run_killed_at_its_start_is_free(left, command, tiny_bundle, tmp_path):
    for name in left:
        (tmp_path / name).write_text("{")
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 1, "--out", tmp_path]
    assert command("engine", "generate", *arguments).returncode == 0


@pytest.mark.usefixtures("stubborn_rescue")
def test_a_torn_record_of_failures_is_mended(tiny_bundle, tmp_path):
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


def test_a_picture_that_was_taken_away_does_not_fail_a_finished_run(command, tiny_bundle, tmp_path):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 3, "--steps", 1, "--out", tmp_path / "out"]
    assert command("engine", "generate", *arguments).returncode == 0
    (tmp_path / "out/cyt_mast/000001.png").unlink()
    assert command("engine", "generate", *arguments).returncode == 0
    assert (tmp_path / "out/sheet.png").exists()
