"""The command `engine serve`."""

import io
import sys

import pytest

from engine.serve.security.passwords import read_users


@pytest.fixture
def typed(monkeypatch):
    """Return a function that gives a text to stdin."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_line_of_the_file_of_passwords_is_made_from_stdin(in_process, typed, tmp_path):
    typed("correct horse\n")
    made = in_process("engine", "serve", "--hash-password", "anna")
    assert made.returncode == 0
    assert "correct" not in made.stdout
    (tmp_path / "users").write_text(made.stdout)
    users = read_users(tmp_path / "users")
    assert users.check("anna", "correct horse")
    assert not users.check("anna", "correct horse\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "192.168.0.1"], "--no-auth"),
        (["--cors", "page.example"], "--cors"),
        (["--auth", "missing"], "missing"),
        (["--port", "70000"], "--port"),
        (["--bundle", "no such bundle"], "no such bundle"),
    ],
)
def test_a_wrong_command_exits_2_before_anything_is_written(in_process, tmp_path, arguments, words):
    found = in_process("engine", "serve", *arguments, "--data", tmp_path / "data")
    assert found.returncode == 2
    assert words in found.stderr
    assert not (tmp_path / "data").exists()


def test_a_short_password_is_refused(in_process, typed):
    typed("short\n")
    found = in_process("engine", "serve", "--hash-password", "anna")
    assert (found.returncode, found.stdout) == (2, "")
