"""Command lines in a terminal: exit codes, progress without a terminal, signals, and text that is safe to print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from engine.errors import CytosynthError, RequestError
from engine.terminal import printable, progress_bar, run_command_line, stopped_by_signals
from tests.conftest import ROOT


def raising(error):
    def app():
        raise error

    return app


WORDS = {"found": "0", "expected": "1", "fix": "change it"}


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RequestError("--n", **WORDS), 2, "error: --n"),
        (CytosynthError("The disk", **WORDS), 1, "fix:      change it"),
        (OSError(28, "No space left on device", "out/x.png"), 1, "error: The file out/x.png"),
    ],
)
def test_an_error_is_printed_without_a_traceback_and_gives_the_exit_code(error, code, words, capsys):
    with pytest.raises(SystemExit) as caught:
        run_command_line(raising(error))
    assert caught.value.code == code
    assert words in capsys.readouterr().err


def run_python(lines, *arguments, **options):
    script = "import sys; from engine.terminal import run_command_line\n" + lines
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **options}
    return subprocess.run([sys.executable, "-c", script, *arguments], **options)


PRINTING = r"run_command_line(lambda: print('Zelle \u00e4 \u2192 \udcff'))"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_the_output_lacks_are_printed_as_escapes(encoding):
    done = run_python(PRINTING, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding).startswith("Zelle ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_output_is_one_error_and_a_full_stderr_is_none():
    with open("/dev/full", "wb") as full:
        done = run_python(PRINTING, stdout=full)
        assert done.returncode == 1
        assert done.stderr.startswith(b"error: The output")
        assert b"No space left on device" in done.stderr
        assert b"Exception ignored" not in done.stderr
        failing = (
            "from engine.errors import RequestError\ndef app(): raise RequestError('a', found='', expected='', fix='')"
        )
        assert run_python(f"{failing}\nrun_command_line(app)", stderr=full).returncode == 2


def test_a_reader_that_closes_the_pipe_hears_no_complaint():
    script = "import time\ndef app():\n    for _ in range(9999): print('x' * 99)\nrun_command_line(app)"
    read, write = os.pipe()
    os.close(read)
    done = run_python(script, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([b"--prompt", b"a\xffb"], b"bytes that are no UTF-8"),
        ([b"--out", b""], b"The value of --out"),
        ([b""], b"An argument"),
    ],
)
def test_an_argument_that_no_record_can_hold_is_refused_before_anything_runs(arguments, words):
    done = run_python("run_command_line(lambda: print('ran'))", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr


def test_an_empty_prompt_is_a_prompt():
    assert run_python("run_command_line(lambda: print('ran'))", "--negative-prompt", "").stdout == b"ran\n"


def test_without_a_terminal_progress_is_a_few_lines_and_a_short_task_prints_none(capsys):
    for line_every_s in (60.0, 0.0):
        with progress_bar(line_every_s=line_every_s) as progress:
            for done in range(1, 101):
                progress("train", done, 100, 0.5)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 20
    assert printed[-1] == "train, loss 0.5000, 100/100"
    with progress_bar(line_every_s=0.0) as progress:
        for done in (32, 64, 96, 100):
            progress("teacher", done, 100)
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_the_first_signal_sets_the_event_and_the_second_acts_as_before():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with stopped_by_signals() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.is_set(), heard) == (True, [])
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_control_characters_are_not_printed():
    assert printable("a\x1b[2Jb\nc\x07") == "a\ufffd[2Jb\nc\ufffd"
