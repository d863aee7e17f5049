"""Folders of class folders: the pairs of two sides."""

from __future__ import annotations

import shutil

import pytest

from engine.errors import RequestError
from evaluate.class_folders import expect_two_classes, open_pairs


def test_two_folders_of_pictures_are_one_pair(phantoms):
    pairs, warnings = open_pairs(phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast")
    assert list(pairs) == ["cyt_mast"]
    assert (len(pairs["cyt_mast"].real), len(pairs["cyt_mast"].fake)) == (24, 12)
    assert warnings == []


def test_classes_are_paired_by_name_and_others_are_named(phantoms, tmp_path):
    shutil.copytree(phantoms / "synthetic", tmp_path / "fake")
    (tmp_path / "fake" / "fibroma").mkdir()
    pairs, warnings = open_pairs(phantoms / "real", tmp_path / "fake")
    assert list(pairs) == ["cyt_mast"]
    assert warnings == [
        "Only REAL has the classes cyt_kist_mast: left out.",
        "Only FAKE has the classes fibroma: left out.",
    ]


def test_sides_without_a_common_class_or_with_one_kind_of_folder_are_refused(phantoms, tmp_path):
    shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "fake" / "fibroma")
    with pytest.raises(RequestError, match="at least one class that both have"):
        open_pairs(phantoms / "real", tmp_path / "fake")
    with pytest.raises(RequestError, match="folders of pictures: cyt_kist_mast"):
        open_pairs(phantoms / "real", phantoms / "synthetic" / "cyt_mast")
    with pytest.raises(RequestError, match="REAL cyt_kist_mast and FAKE cyt_kist_mast"):
        open_pairs(phantoms / "real", phantoms / "real")


@pytest.mark.parametrize(
    ("folder", "names", "found"), [("", ["one"], "one"), ("", [], "no class folder"), ("absent", [], "no such folder")]
)
def test_fewer_than_two_classes_are_refused(folder, names, found, tmp_path):
    with pytest.raises(RequestError, match="The real folder") as caught:
        expect_two_classes("real", tmp_path / folder, names)
    assert caught.value.found == found


def test_two_classes_pass(tmp_path):
    expect_two_classes("real", tmp_path, ["one", "two"])
