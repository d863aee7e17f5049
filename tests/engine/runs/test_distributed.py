"""`generate --ray`: a cluster of two workers writes the bytes of one process, also when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import psutil
import pytest

from engine.backends.select import open_backend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import CytosynthError, RequestError
from engine.output.formats import make_output
from engine.runs import distributed
from engine.runs.distributed import open_cluster
from engine.runs.generate import generate
from tests.engine.folders import pictures, wait_for_pictures, without_times

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="needs Ray: pip install 'cytosynth[distributed]'")


def words(bundle, *more):
    run = ["generate", "--bundle", bundle, "--class", "all", "--n", 7, "--seed", 3, "--steps", 2, "--batch-size", 2]
    return ["engine", *run, "--threads", 1, *more]


@pytest.fixture(scope="module")
def tiny_bundle(stochastic):
    """The tiny bundle with a decoder that draws grain: its noise must not depend on which worker made it."""
    return stochastic / "bundle"


@pytest.fixture(scope="module")
def alone(in_process, tiny_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    done = in_process(*words(tiny_bundle, "--out", out))
    assert done.returncode == 0, done.stderr
    return out


def test_two_workers_write_the_bytes_of_one_process(command, in_process, tiny_bundle, alone, tmp_path):
    out = tmp_path / "out"
    done = command(*words(tiny_bundle, "--ray", "local", "--workers", 2, "--out", out))
    assert done.returncode == 0, done.stderr
    assert without_times(out) == without_times(alone)
    again = in_process(*words(tiny_bundle, "--out", out))
    assert "0 of them new" in again.stdout


def children_of(process, pattern):
    found = subprocess.run(["pgrep", "-P", str(process), "-f", pattern], capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


def test_the_chunk_of_a_killed_worker_is_made_by_another(tiny_bundle, tmp_path, monkeypatch):
    """And only that chunk: every other is asked for once."""
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["all"], 24, settings_of(backend="openvino", batch_size=2, threads=1, num_inference_steps=2))
    killed = []

    def kill_a_worker(task, done, total, *_):
        if done and not killed:
            (raylet,) = children_of(os.getpid(), "raylet/raylet")
            killed.append(children_of(raylet, "^ray::_Maker")[0])
            os.kill(killed[0], signal.SIGKILL)

    asked = []
    give = distributed._Crew.give
    monkeypatch.setattr(distributed._Crew, "give", lambda crew, chunk: (asked.append(chunk), give(crew, chunk)))

    outs = {}
    with open_cluster("local", 2, 1) as cluster:
        for name, producer in {"whole": None, "killed": cluster.produce}.items():
            output = make_output(tmp_path / name, "imagefolder", job.request.width, job.request.height, overwrite=False)
            more = {} if producer is None else {"produced_by": producer, "progress": kill_a_worker}
            outs[name] = generate(job, output, **more)
    assert killed
    assert outs["killed"].made == outs["whole"].made == 48
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "whole")
    assert set(asked) == set(range(24))
    assert len(asked) <= 25


@pytest.mark.soak
def test_a_killed_command_leaves_no_worker_and_is_continued_by_the_same_command(
    command, in_process, start_command, tiny_bundle, tmp_path
):
    more = ["--n", 20, "--steps", 20, "--ray", "local", "--workers", 2]
    arguments = words(tiny_bundle, *more, "--out", tmp_path / "out")
    process = start_command(*arguments, output=subprocess.DEVNULL)
    wait_for_pictures(tmp_path / "out", 3, process)
    # Ray's agents of a node look for it for a minute before they go.
    started = [child for child in psutil.Process(process.pid).children(recursive=True) if "Agent" not in child.name()]
    assert any(child.name().startswith("ray::_Maker") for child in started)
    process.kill()
    assert process.wait() < 0
    _, left = psutil.wait_procs(started, timeout=60)
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
    assert 3 <= len(pictures(tmp_path / "out")) < 40
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert in_process(*words(tiny_bundle, *more[:4], "--out", tmp_path / "whole")).returncode == 0
    assert without_times(tmp_path / "out") == without_times(tmp_path / "whole")


def test_a_stop_leaves_a_run_that_one_process_continues(tiny_bundle, tmp_path):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["all"], 8, settings_of(backend="openvino", batch_size=2, threads=1, num_inference_steps=2))
    output = make_output(tmp_path / "out", "webdataset", job.request.width, job.request.height, 4, overwrite=False)
    stop = threading.Event()
    with open_cluster("local", 1, 1) as cluster:
        first = generate(
            job,
            output,
            produced_by=cluster.produce,
            stop=stop,
            progress=lambda task, done, *_: stop.set() if done else None,
        )
    assert first.stopped
    assert 0 < first.made < 16
    assert generate(job, output).total == 16


def test_a_worker_with_another_runtime_is_refused_by_name(tiny_bundle, tmp_path):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["cyt_mast"], 2, settings_of(backend="openvino", threads=1))
    backend = open_backend(job)
    backend.version = "openvino 1.0"
    output = make_output(tmp_path / "out", "imagefolder", job.request.width, job.request.height, overwrite=False)
    with open_cluster("local", 1, 1) as cluster, pytest.raises(Exception, match="The runtime of a worker on"):
        generate(job, output, backend=backend, produced_by=cluster.produce)


def test_a_cluster_without_room_for_a_worker_is_refused_instead_of_waited_for(tiny_bundle, tmp_path):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["cyt_mast"], 2, settings_of(backend="openvino", threads=3))
    output = make_output(tmp_path / "out", "imagefolder", job.request.width, job.request.height, overwrite=False)
    with open_cluster("local", 2, 1) as cluster, pytest.raises(RequestError, match="2 CPU"):
        generate(job, output, produced_by=cluster.produce)


def test_workers_that_die_before_they_have_a_chunk_end_the_run(tiny_bundle, tmp_path, monkeypatch):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["cyt_mast"], 2, settings_of(backend="openvino", threads=1))
    output = make_output(tmp_path / "out", "imagefolder", job.request.width, job.request.height, overwrite=False)

    class Dies:
        def __init__(self, work):
            pass

        def open(self):
            os._exit(1)

    monkeypatch.setattr(distributed, "_Maker", Dies)
    with open_cluster("local", 1, 1) as cluster, pytest.raises(CytosynthError, match="while they opened the models"):
        generate(job, output, produced_by=cluster.produce)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", 2], "--workers"),
        (["--ray", "local", "--workers", 0], "--workers"),
        (["--ray", "127.0.0.1:1", "--workers", 2], "--ray 127.0.0.1:1"),
        (["--ray", "nonsense", "--workers", 2], "--ray nonsense"),
    ],
)
def test_wrong_requests_exit_2_and_touch_nothing(in_process, tiny_bundle, tmp_path, options, message):
    done = in_process(*words(tiny_bundle, *options, "--out", tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
