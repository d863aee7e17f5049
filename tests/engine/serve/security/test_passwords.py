"""Hashed passwords: their file, and the check."""

import time

import pytest

from engine.errors import RequestError
from engine.serve.security.passwords import hash_password, read_users

PASSWORD = "a long pässword: with colons"  # noqa: S105


@pytest.fixture(scope="module")
def lines():
    return [hash_password(name, PASSWORD) for name in ("anna", "ben")]


@pytest.fixture
def users(lines, tmp_path):
    path = tmp_path / "users"
    path.write_text("\n".join(["# the laboratory", "", *lines]))
    return read_users(path)


def test_a_right_password_is_accepted_and_remembered(users):
    assert not users.remembers("anna", PASSWORD)
    assert users.check("anna", PASSWORD)
    assert users.remembers("anna", PASSWORD)
    assert not users.remembers("ben", PASSWORD)


def test_wrong_passwords_and_names_are_refused(users):
    assert users.check("anna", PASSWORD)
    for name, password in [("anna", "wrong"), ("anna", ""), ("carl", PASSWORD), ("", ""), ("anna:", PASSWORD)]:
        assert not users.check(name, password)
        assert not users.remembers(name, password)


def test_an_unknown_name_takes_as_long_as_a_wrong_password(users):
    def seconds(name):
        began = time.perf_counter()
        users.check(name, "wrong password")
        return time.perf_counter() - began

    known, unknown = (min(seconds(name) for _ in range(3)) for name in ("anna", "nobody"))
    assert 0.5 < known / unknown < 2


def test_the_file_shows_no_password_and_the_same_password_has_another_hash(lines):
    assert PASSWORD not in "".join(lines)
    assert lines[0].split(":")[-1] != lines[1].split(":")[-1]


@pytest.mark.parametrize(
    ("name", "password"), [("", PASSWORD), ("a:b", PASSWORD), ("a\nb", PASSWORD), ("x" * 65, PASSWORD), ("a", "short")]
)
def test_an_unusable_name_or_password_is_refused(name, password):
    with pytest.raises(RequestError) as error:
        hash_password(name, password)
    assert password not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody",
        "anna:plain password",
        "anna:scrypt:32768:8:3:AAAA:AAAA",
        "anna:scrypt:1000:8:3:" + "A" * 24 + ":" + "A" * 44,
        "anna:scrypt:16777216:8:3:" + "A" * 24 + ":" + "A" * 44,
        "anna:scrypt:32768:8:0:" + "A" * 24 + ":" + "A" * 44,
    ],
)
def test_a_file_that_holds_something_else_is_refused_without_showing_it(text, tmp_path):
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(RequestError, match="hash-password") as error:
        read_users(path)
    assert "plain password" not in str(error.value)


def test_a_user_stands_in_the_file_once(lines, tmp_path):
    path = tmp_path / "users"
    path.write_text(f"{lines[0]}\n{lines[0]}\n")
    with pytest.raises(RequestError, match="second time"):
        read_users(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RequestError, match="No such file"):
        read_users(tmp_path / "none")
