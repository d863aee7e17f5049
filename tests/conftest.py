"""What several tests share: a tiny bundle that is made once, through the public command lines."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from engine.terminal import run_command_line
from tests.kept_graphs import Store, keep_graphs
from tests.prefork import GARBAGE, PACKAGES, ROOT, SUPPORTED, Server, run_prepared

# Threads of several workers wait for each other, and a process that has threads cannot be forked. Torch and NumPy read
# this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Command = Callable[..., subprocess.CompletedProcess[str]]
RECIPE = "recipes.base_of_bundle"
COMMAND_LINES = {
    "engine": "engine.cli.app",
    "trainer": "trainer.cli.app",
    "exporter": "exporter.cli.app",
    "evaluate": "evaluate.cli.app",
    "benchmarks": "benchmarks.app",
    RECIPE: RECIPE,
}
LONG_FILES = (
    "tests/exporter/test_onnx_bundle.py",
    "tests/evaluate/studies/test_utility.py",
    "tests/trainer/hypernetwork/test_fold.py",
    "tests/evaluate/report/test_tables.py",
    "tests/evaluate/report/test_html.py",
    "tests/evaluate/studies/test_morphology.py",
    "tests/trainer/lora/test_files.py",
    "tests/evaluate/cli/test_score.py",
    "tests/evaluate/studies/test_probe.py",
    "tests/evaluate/studies/test_judge.py",
    "tests/evaluate/cli/test_probe.py",
    "tests/trainer/pretraining/test_energy.py",
    "tests/evaluate/cli/test_utility.py",
    "tests/cpp_bench/test_cyto_bench.py",
    "tests/trainer/adapters/test_merge.py",
    "tests/exporter/test_int8.py",
    "tests/docs/test_pages_in_small.py",
    "tests/exporter/test_preset_unets.py",
    "tests/exporter/test_preset_decoder.py",
    "tests/engine/runs/test_distributed.py",
    "tests/trainer/fitting/test_fit.py",
    "tests/trainer/distillation/test_distill.py",
    "tests/engine/test_privacy.py",
    "tests/engine/serve/jobs/test_runner.py",
    "tests/engine/runs/test_generate.py",
    "tests/engine/pipeline/test_loops.py",
    "tests/test_wheel.py",
    "tests/trainer/base/test_stable_diffusion.py",
    "tests/exporter/plans/test_building.py",
    "tests/engine/serve/page/test_from_picture.py",
    "tests/engine/output/test_merge_runs.py",
    "tests/engine/serve/jobs/test_routes.py",
    "tests/engine/output/test_remote.py",
    "tests/trainer/hypernetwork/test_signal_leak.py",
    "tests/engine/pipeline/test_initial.py",
    "tests/evaluate/cli/test_report.py",
    "tests/trainer/pretraining/test_grain.py",
    "tests/trainer/adapting/test_adapt.py",
    "tests/trainer/pretraining/test_pretrain.py",
    "tests/evaluate/cli/test_copies.py",
    "tests/evaluate/cli/test_curve.py",
)
"""The files that start first. While one worker makes the whole path for two minutes, from the first file on, the other
one runs files that do not need it. Then come the files that take longest."""
PREFORK = "CYTOSYNTH_TEST_PREFORK"
"""Environment variable with the address of the server of tests/prefork.py."""


def pytest_configure(config: pytest.Config) -> None:
    """Start the server that `run_command` uses. All workers share it."""
    if SUPPORTED and "PYTEST_XDIST_WORKER" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="cytosynth-")
        server = Server(Path(folder.name))
        os.environ[PREFORK] = str(server.address)
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(server.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest: a long file at the end leaves the other workers idle."""
    places = {ROOT / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Collect garbage less often, and never what the imports made: this is a tenth of the time of an export."""
    gc.freeze()
    gc.set_threshold(GARBAGE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, and which package would enable it."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped tests, and what enables them")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:4} {reason}")


def run_command(*arguments: object, timeout: float = 300, prepared: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `python -m <arguments>` from the checkout, as a user does.

    prepared: fork a process that has imported other people's packages already, if there is one for this part.
    """
    words = [*map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "default"}
    if prepared and words[0].partition(".")[0] in PACKAGES and PREFORK in os.environ:
        return run_prepared(Path(os.environ[PREFORK]), words, environment, ROOT, timeout)
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=timeout)


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a part's command line; returns exit code, stdout and stderr."""
    return run_command


@pytest.fixture
def start_command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in the background. Kill it at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: object, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", *map(str, arguments)]
            process = subprocess.Popen(command, stdout=output, stderr=output, text=True, cwd=ROOT)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture(scope="session")
def shared_exports(whole_path: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """Export a structure once for all workers (tests/shared_exports.py), beginning with what the whole path exported.

    The store serves later sessions, too, until a source or a package changes on which a graph may depend. A prepared
    path may be older than that, so its store serves one session.
    """
    from exporter import graphs
    from tests.shared_exports import fill_store, lasting_store, stored

    prepared = "CYTOSYNTH_TEST_PATH" in os.environ
    folder = shared_folder(tmp_path_factory, worker_id) / "graphs" if prepared else lasting_store(ROOT)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            fill_store(whole_path / "merged/cyt_mast", whole_path / "bundle", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "export_graph", stored(graphs.export_graph, folder))
        yield


@pytest.fixture(scope="session")
def graph_store() -> Store:
    """The compiled graphs of this process."""
    return Store()


@pytest.fixture(scope="module", autouse=True)
def kept_graphs(graph_store: Store) -> Iterator[None]:
    """Open each graph once in this process (tests/kept_graphs.py)."""
    with pytest.MonkeyPatch.context() as patch:
        keep_graphs(patch, graph_store)
        yield


def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the temporary folder of this session that all workers share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def in_process(request: pytest.FixtureRequest) -> Command:
    """Run a part's command line in this process: the same, without seconds of imports and with shared exports."""

    def run(part: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        if part in ("exporter", "benchmarks", RECIPE):
            request.getfixturevalue("shared_exports")
        main = importlib.import_module(COMMAND_LINES[part]).main
        if part == RECIPE:
            main = partial(run_command_line, main)
        words = [part, *map(str, arguments)]
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), captured() as printed:
            patch.setattr(sys, "argv", words)
            patch.setenv("COLUMNS", "200")
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(words, code, *printed)

    return run


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
    """Return a list that holds at the end what this process wrote to stdout and to stderr. Unlike pytest's `capfd`, a
    fixture of any scope can use it."""
    printed: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", buffering=1)) for _ in range(2)]
        try:
            with contextlib.ExitStack() as redirected:
                for number, file in enumerate(files, 1):
                    original = os.dup(number)
                    redirected.callback(os.close, original)
                    redirected.callback(os.dup2, original, number)
                    redirected.callback(file.flush)
                    os.dup2(file.fileno(), number)
                redirected.enter_context(contextlib.redirect_stdout(files[0]))
                redirected.enter_context(contextlib.redirect_stderr(files[1]))
                yield printed
        finally:
            for file in files:
                file.seek(0)
                printed.append(file.read())


@pytest.fixture(scope="session")
def whole_path(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The whole path in small; the folder of every stage's output, and `log.txt` with what each command printed."""
    if prepared := os.environ.get("CYTOSYNTH_TEST_PATH"):
        return Path(prepared)
    folder = shared_folder(tmp_path_factory, worker_id) / "path"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            unfinished = tmp_path_factory.mktemp("path")
            make_whole_path(unfinished)
            unfinished.rename(folder)
    return folder


def make_whole_path(folder: Path) -> None:
    """Phantoms, a base, two hypernetworks, merged and exported."""
    base, prepared = folder / "base", folder / "prepared"
    classes = ["--class", "cyt_mast", "--class", "cyt_nep_mast"]
    steps = [
        ["trainer", "phantom", folder / "phantom", *classes, "--n", 24, "--size", 64, "--seed", 1],
        ["trainer", "prepare", folder / "phantom" / "pictures", prepared, "--size", 32, "--n", 32],
        [
            "trainer",
            "pretrain",
            prepared,
            "--out",
            base,
            "--preset",
            "tiny",
            "--vae-steps",
            80,
            "--vae-learning-rate",
            4e-4,
            "--vae-batch-size",
            8,
            "--decoder-steps",
            4,
            "--unet-steps",
            60,
            "--unet-batch-size",
            16,
            "--refiner-steps",
            0,
        ],
    ]
    for name in ("cyt_mast", "cyt_nep_mast"):
        source = ["--origin", "phantom", "--pictures", 24, "--licence", "CC0", "--attribution", "drawn by cytosynth"]
        fit = ["--base", base, "--out", folder / "hypernetworks", "--steps", 20, "--batch-size", 4]
        fit += ["--learning-rate", "1e-3", "--preset", "sd15"]
        steps += [
            ["trainer", "fit", prepared / name, *fit, *source],
            [
                "trainer",
                "merge",
                folder / f"hypernetworks/{name}.safetensors",
                "--out",
                folder / "merged" / name,
                "--base",
                base,
            ],
        ]
    merged = [folder / "merged" / name for name in ("cyt_mast", "cyt_nep_mast")]
    steps.append(["exporter", "onnx", *merged, "--out", folder / "bundle", "--guidance-scale", 2, "--batch-size", 4])
    with (folder / "log.txt").open("w") as log:
        for step in steps:
            # One command of each part starts as a user starts it, its imports included.
            done = run_command(*step, prepared=step[1] not in ("pretrain", "onnx"))
            log.write(f"$ {' '.join(map(str, step))}\n{done.stdout}{done.stderr}\n")
            assert done.returncode == 0, f"{step} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
            # The tests use a base without a card, as earlier versions wrote it. Tests of the card add one.
            (base / "base.json").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def tiny_bundle(whole_path: Path) -> Path:
    """A bundle of two tiny classes, not to be changed."""
    return whole_path / "bundle"


@pytest.fixture(scope="session")
def stochastic(request: pytest.FixtureRequest, whole_path: Path) -> Path:
    """A folder with the tiny base, a merged class and the tiny bundle once more, whose decoder draws grain.

    It lies inside the whole path, so that a prepared path keeps it.
    """
    folder = whole_path / "stochastic"
    if folder.exists():
        return folder
    with FileLock(whole_path / "stochastic.lock"):
        if not folder.exists():
            # Workers that find the folder do not import torch.
            from tests.stochastic import make_stochastic

            request.getfixturevalue("shared_exports")
            with tempfile.TemporaryDirectory(dir=whole_path) as unfinished:
                make_stochastic(whole_path, Path(unfinished) / "new")
                (Path(unfinished) / "new").rename(folder)
    return folder


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")
