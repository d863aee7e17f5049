"""What several tests share: a tiny bundle that is made once, through the public command lines."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads of several workers wait for each other. Torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]
COMMAND_LINES = {
    "engine": "engine.cli.app",
    "trainer": "trainer.cli.app",
    "exporter": "exporter.cli",
    "evaluate": "evaluate.cli.app",
    "benchmarks": "benchmarks.app",
}


def run_command(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `python -m <arguments>` from the checkout, as a user does."""
    command = [sys.executable, "-m", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "default"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=timeout)


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a part's command line; returns exit code, stdout and stderr."""
    return run_command


@pytest.fixture
def start_command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a part's command line and go on; what still runs when the test ends, however it ends, is killed."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: object, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", *map(str, arguments)]
            process = subprocess.Popen(command, stdout=output, stderr=output, text=True, cwd=ROOT)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def in_process(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command line of trainer or exporter in this process: the same, without seconds of imports."""

    def run(part: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        main = importlib.import_module(COMMAND_LINES[part]).main
        words = [part, *map(str, arguments)]
        capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.setattr(sys, "argv", words)
            patch.setenv("COLUMNS", "200")
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, out, err)

    return run


@pytest.fixture(scope="session")
def whole_path(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The whole path in small; the folder of every stage's output, and `log.txt` with what each command printed."""
    if prepared := os.environ.get("CYTOSYNTH_TEST_PATH"):
        return Path(prepared)
    if worker_id == "master":
        folder = tmp_path_factory.mktemp("path")
        make_whole_path(folder)
        return folder
    folder = tmp_path_factory.getbasetemp().parent / "path"
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
        ],
    ]
    for name in ("cyt_mast", "cyt_nep_mast"):
        source = ["--origin", "phantom", "--pictures", 24, "--licence", "CC0", "--attribution", "drawn by cytosynth"]
        fit = ["--base", base, "--out", folder / "hypernetworks", "--steps", 20, "--batch-size", 4]
        fit += ["--learning-rate", "1e-3"]
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
            done = run_command(*step)
            log.write(f"$ {' '.join(map(str, step))}\n{done.stdout}{done.stderr}\n")
            assert done.returncode == 0, f"{step} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def tiny_bundle(whole_path: Path) -> Path:
    """A bundle of two tiny classes, not to be changed."""
    return whole_path / "bundle"


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")
