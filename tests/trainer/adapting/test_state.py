"""What the work folder remembers, and which requests it refuses."""

from __future__ import annotations

import pytest
from PIL import Image

from engine.errors import RequestError
from trainer.adapting.state import Choices, expect_same_request, pictures_digest, read_choices, write_choices
from trainer.pictures.folders import find_pictures

REQUEST = {"--base": "cells", "--steps": "300"}


def test_the_same_request_is_accepted_again(tmp_path):
    for _ in range(2):
        expect_same_request(tmp_path / "work", tmp_path / "out", REQUEST)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({**REQUEST, "--steps": "400"}, ["--steps", "300", "400"]),
        ({"--base": "cells"}, ["--steps", "300", "not given"]),
        ({**REQUEST, "--n": "50"}, ["--n", "not given", "50"]),
    ],
)
def test_another_request_is_refused_with_the_fix(other, words, tmp_path):
    expect_same_request(tmp_path / "work", tmp_path / "out", REQUEST)
    with pytest.raises(RequestError) as refused:
        expect_same_request(tmp_path / "work", tmp_path / "out", other)
    assert all(word in str(refused.value) for word in [*words, "choose another --out"])


@pytest.mark.parametrize("taken", ["work", "out"])
def test_a_folder_with_other_files_is_not_touched(taken, tmp_path):
    (tmp_path / taken).mkdir()
    (tmp_path / taken / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match=taken):
        expect_same_request(tmp_path / "work", tmp_path / "out", REQUEST)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["thesis.txt"]


def test_changed_pictures_change_the_digest_of_their_class(tmp_path):
    for name, grey in (("cyst", 10), ("fibroma", 20)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), (grey,) * 3).save(tmp_path / name / "1.png")
    before = pictures_digest(find_pictures(tmp_path))
    Image.new("RGB", (8, 8), (99,) * 3).save(tmp_path / "cyst/1.png")
    after = pictures_digest(find_pictures(tmp_path))
    assert before["cyst"] != after["cyst"]
    assert before["fibroma"] == after["fibroma"]


def test_choices_are_read_as_they_were_written(tmp_path):
    assert read_choices(tmp_path) is None
    choices = Choices(0.7, {"cyst": "ig"}, ("because",))
    write_choices(tmp_path, choices)
    assert read_choices(tmp_path) == choices
