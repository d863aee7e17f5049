"""`--out URL` gives the same files as a folder, even if processes are killed or uploads fail."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from engine.output.formats import FORMATS
from tests.engine.folders import contents, without_times

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'cytosynth[distributed]'")
MemoryFileSystem = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The compiled graphs, which the tests share."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(autouse=True)
def cache(compiled, tmp_path, monkeypatch):
    """A user cache for the test, with uploads of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/cytosynth").mkdir(parents=True)
    (tmp_path / "cache/cytosynth/openvino").symlink_to(compiled)
    return tmp_path / "cache/cytosynth/uploads"


def words(bundle, out, *more, n=7):
    wanted = [
        "generate",
        "--bundle",
        bundle,
        "--class",
        "all",
        "--n",
        n,
        "--steps",
        2,
        "--batch-size",
        2,
        "--threads",
        1,
    ]
    return ["engine", *map(str, [*wanted, "--out", out, *more])]


def shards(file_format):
    return ["--format", file_format, *(["--shard-pictures", 5] if file_format == "webdataset" else [])]


def waiting(cache):
    """Return the files that wait for their upload."""
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_url_holds_what_a_folder_would(file_format, in_process, tiny_bundle, tmp_path, cache):
    there, url = tmp_path / "there", f"file://{tmp_path}/there"
    done = in_process(*words(tiny_bundle, tmp_path / "here", *shards(file_format)))
    assert done.returncode == 0, done.stderr
    done = in_process(*words(tiny_bundle, url, *shards(file_format)))
    assert done.returncode == 0, done.stderr
    assert f"{url}/sheet.png" in done.stdout
    assert without_times(there) == without_times(tmp_path / "here")
    assert json.loads((there / "run.json").read_text())["complete"] is True
    assert not waiting(cache)

    stood = contents(there)
    again = in_process(*words(tiny_bundle, url, *shards(file_format)))
    assert again.returncode == 0, again.stderr
    assert "0 of them new" in again.stdout
    another = in_process(*words(tiny_bundle, url, "--seed", 5, *shards(file_format)))
    assert another.returncode == 2
    assert f"The URL {url}\n  found:    another run: seed 0 in the existing run, 5 requested" in another.stderr
    assert str(cache) not in another.stderr
    assert contents(there) == stood


@pytest.mark.slow
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_killed_run_puts_only_what_is_missing(file_format, in_process, start_command, tiny_bundle, tmp_path, cache):
    there, n = tmp_path / "there", 60
    whole = in_process(*words(tiny_bundle, tmp_path / "here", *shards(file_format), n=n))
    assert whole.returncode == 0, whole.stderr
    arguments = words(tiny_bundle, f"file://{there}", *shards(file_format), n=n)
    process = start_command(*arguments, output=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(bulk(there)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() < 0
    assert json.loads((there / "run.json").read_text())["complete"] is False
    assert not (there / "metadata.jsonl").exists()
    another = in_process(*words(tiny_bundle, f"file://{there}", "--seed", 5, *shards(file_format), n=n))
    assert another.returncode == 2, another.stderr

    first, *others = sorted(bulk(there))[:-1]
    first.write_bytes(b"torn")
    stood = {path: path.stat().st_mtime_ns for path in others}
    done = in_process(*arguments)
    assert done.returncode == 0, done.stderr
    assert without_times(there) == without_times(tmp_path / "here")
    assert {path: path.stat().st_mtime_ns for path in others} == stood
    assert not waiting(cache)


def bulk(folder):
    return [path for path in folder.rglob("*") if path.suffix in (".png", ".tar") and path.name != "sheet.png"]


def test_a_run_goes_on_where_nothing_of_it_waits(in_process, tiny_bundle, tmp_path, cache):
    """Pretend to run on another machine."""
    there, url = tmp_path / "there", f"file://{tmp_path}/there"
    assert in_process(*words(tiny_bundle, url)).returncode == 0
    stood = without_times(there)
    run = json.loads((there / "run.json").read_text())
    (there / "run.json").write_text(json.dumps({**run, "complete": False}))
    for name in ("metadata.jsonl", "sheet.png", "cyt_mast/000003.png"):
        (there / name).unlink()
    done = in_process(*words(tiny_bundle, url))
    assert done.returncode == 0, done.stderr
    assert without_times(there) == stood


def test_a_put_that_fails_ends_the_run_and_the_same_command_goes_on(
    in_process, tiny_bundle, tmp_path, cache, monkeypatch
):
    store = MemoryFileSystem()
    put, puts = store.put_file, []

    def put_three(file_system, here, there, **options):
        if len(puts) == 3:
            raise ConnectionError("the network is gone")
        puts.append(there)
        put(here, there, **options)

    arguments = words(tiny_bundle, "memory://bucket/cells")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", put_three)
        done = in_process(*arguments)
    assert done.returncode == 1
    assert "the network is gone" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert store.find("/bucket/cells") == sorted(puts)
    done = in_process(*arguments)
    assert done.returncode == 0, done.stderr
    assert in_process(*words(tiny_bundle, tmp_path / "here")).returncode == 0
    store.get("/bucket/cells", str(tmp_path / "there"), recursive=True)
    assert without_times(tmp_path / "there") == without_times(tmp_path / "here")
    assert not waiting(cache)


@pytest.mark.parametrize(
    ("out", "more", "message"),
    [
        ("nonsense://bucket/cells", [], "Protocol not known: nonsense"),
        ("memory://cells", ["--shard", "1/2"], "--shard"),
        ("memory://cells", ["--overwrite"], "--overwrite"),
        ("file://{}/foreign", [], "files, but no run.json"),
        ("ftp://me:p@/secret@127.0.0.1:1/cells", [], "ftp://me:***@127.0.0.1:1/cells"),
    ],
)
def test_wrong_urls_exit_2_and_touch_nothing(out, more, message, in_process, tiny_bundle, tmp_path, cache):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/mine.txt").write_text("mine")
    done = in_process(*words(tiny_bundle, out.format(tmp_path), *more))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert contents(tmp_path / "foreign").keys() == {"mine.txt"}
    assert not waiting(cache)


@pytest.mark.parametrize("file_name", ["{0}/secret.txt", "../secret.txt", None])
def test_no_path_of_a_store_is_trusted(in_process, tiny_bundle, tmp_path, file_name):
    """A foreign metadata.jsonl names a file of this machine, which must not be uploaded."""
    (tmp_path / "secret.txt").write_text("mine")
    place = tmp_path / "store"
    request = words(tiny_bundle, f"file://{place}")
    assert in_process(*request).returncode == 0
    metadata, run = place / "metadata.jsonl", place / "run.json"
    first, *rest = metadata.read_text().splitlines()
    row = {**json.loads(first), "file_name": file_name and file_name.format(tmp_path)}
    metadata.write_text("\n".join([json.dumps(row), *rest[:3], ""]))
    run.write_text(json.dumps({**json.loads(run.read_text()), "complete": False}))
    done = in_process(*request)
    assert done.returncode == 1, done.stderr
    assert "file_name" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.name == "secret.txt" and path.parent != tmp_path]


def test_a_protocol_without_its_package_says_how_to_install_it(in_process, tiny_bundle):
    """Every protocol of fsspec whose package is not installed."""
    missing = next((name for name in ("s3", "gs", "abfs", "oss") if not usable(name)), None)
    if missing is None:
        pytest.skip("needs a protocol of fsspec whose package is missing; all are installed here")
    done = in_process(*words(tiny_bundle, f"{missing}://bucket/cells"))
    assert done.returncode == 2
    assert "nstall" in done.stderr
    assert "Traceback" not in done.stderr


def usable(protocol):
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        return False
    return True
