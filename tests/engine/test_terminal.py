"""Command lines in a terminal: exit codes, progress without a terminal, signals, and text that is safe to print."""

from __future__ import annotations

import os
import signal

import pytest

from engine.errors import CytosynthError, RequestError
from engine.terminal import printable, progress_bar, run_command_line, stopped_by_signals


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
        (OSError(28, "No space left on device", "out/x.png"), 1, "No space left on device: out/x.png"),
    ],
)
def test_an_error_is_printed_without_a_traceback_and_gives_the_exit_code(error, code, words, capsys):
    with pytest.raises(SystemExit) as caught:
        run_command_line(raising(error))
    assert caught.value.code == code
    assert words in capsys.readouterr().err


def test_without_a_terminal_progress_is_a_few_lines_and_a_short_task_prints_none(capsys):
    for line_every_s in (60.0, 0.0):
        with progress_bar(line_every_s=line_every_s) as progress:
            for done in range(1, 101):
                progress("train", done, 100, 0.5)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 20
    assert printed[-1] == "train, loss 0.5000, 100/100"


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
