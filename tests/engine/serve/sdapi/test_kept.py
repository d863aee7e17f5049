import os

import pytest

from engine.errors import RequestError
from engine.serve.sdapi.kept import read_options, write_options


def test_what_was_written_is_read(tmp_path):
    file = tmp_path / "options.json"
    assert read_options(file) == {}
    for values in ({"a": 1, "b": "\u00e9"}, {"a": None, "c": True}):
        write_options(file, values)
        assert read_options(file) == values
        assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["options.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b"[1]", "type list"),
        (b'{"a": {"b": 1}}', "'a' with a value of the type dict"),
        (b" " * 70_000, "a larger file"),
    ],
)
def test_another_content_is_refused_with_its_kind(tmp_path, content, words):
    file = tmp_path / "options.json"
    file.write_bytes(content)
    with pytest.raises(RequestError) as error:
        read_options(file)
    assert words in error.value.found


def test_a_link_a_pipe_and_a_folder_are_refused_at_once(tmp_path):
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(RequestError):
            read_options(tmp_path / name)
