"""Variations of real pictures: which folders are read, which are refused, and how a strength is chosen."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.errors import RequestError
from engine.files import sha256_of
from evaluate.images import open_folder
from evaluate.studies.variations import ChoiceSettings, choose_set, expect_derived, folds_of, open_variations

CLASSES = ("blue", "red")


@pytest.fixture
def pictures(tmp_path):
    """real: 6 pictures per class. sets/low and sets/high: two variations of each."""
    rng = np.random.default_rng(0)
    for class_name in CLASSES:
        for number in range(6):
            path = tmp_path / "real" / class_name / f"{number}.png"
            save(path, rng)
            for name in ("low", "high"):
                for copy in range(2):
                    save(tmp_path / "sets" / name / class_name / f"{6 * copy + number:02d}.png", rng, path)
    return tmp_path


def save(path, rng, initial=None):
    """Save a picture of noise. initial: the picture that it says it was derived from."""
    info = PngInfo()
    if initial is not None:
        facts = {"synthetic": True, "initial_picture": initial.name, "initial_sha256": sha256_of(initial)}
        info.add_itxt("cytosynth", json.dumps(facts))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(path, pnginfo=info)


def real_of(pictures):
    return {name: open_folder(pictures / "real" / name) for name in CLASSES}


def test_one_set_or_several_are_opened_by_name(pictures):
    sets, ignored = open_variations(pictures / "sets", CLASSES)
    assert {name: [len(folder) for folder in classes.values()] for name, classes in sets.items()} == {
        "high": [12, 12],
        "low": [12, 12],
    }
    assert ignored == []
    assert list(open_variations(pictures / "sets" / "low", CLASSES)[0]) == ["low"]


def test_folders_that_are_no_wanted_class_are_named(pictures):
    (pictures / "sets" / "notes").mkdir()
    shutil.copytree(pictures / "sets" / "low" / "red", pictures / "sets" / "low" / "green")
    assert open_variations(pictures / "sets", CLASSES)[1] == ["notes", "low/green"]
    assert open_variations(pictures / "sets" / "low", CLASSES)[1] == ["green"]


def test_a_set_without_a_class_and_a_folder_without_sets_are_refused(pictures):
    shutil.rmtree(pictures / "sets" / "low" / "red")
    with pytest.raises(RequestError, match="low") as caught:
        open_variations(pictures / "sets", CLASSES)
    assert caught.value.found == "blue; red missing"
    with pytest.raises(RequestError, match="The variations") as caught:
        open_variations(pictures / "sets", ("green",))
    assert caught.value.found == "high, low"
    with pytest.raises(RequestError, match="The variations") as caught:
        open_variations(pictures / "absent", CLASSES)
    assert caught.value.found == "no such folder"


def test_a_picture_that_was_not_derived_from_a_real_one_is_refused(pictures):
    place, rng = pictures / "real", np.random.default_rng(1)
    expect_derived(open_variations(pictures / "sets", CLASSES)[0], real_of(pictures), place)
    save(pictures / "other.png", rng)
    save(pictures / "sets" / "low" / "red" / "98.png", rng, pictures / "other.png")
    save(pictures / "sets" / "low" / "red" / "99.png", rng)
    with pytest.raises(RequestError, match="2 pictures in --variations") as caught:
        expect_derived(open_variations(pictures / "sets", CLASSES)[0], real_of(pictures), place)
    red = pictures / "sets" / "low" / "red"
    assert caught.value.found == f"{red}/98.png: derived from other.png; {red}/99.png: not derived"


def test_folds_leave_out_pictures_with_their_variations(pictures):
    lines = [{"file_name": f"{name}/{i}.png", "source": f"{name}{i // 2}"} for name in CLASSES for i in range(6)]
    (pictures / "real" / "sources.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    real, (sets, _) = real_of(pictures), open_variations(pictures / "sets", CLASSES)
    folds = folds_of(real, sets, 3)
    for label in range(2):
        left_out = np.concatenate([fold.left_out[label] for fold in folds])
        assert sorted(left_out) == list(range(6))
        for fold in folds:
            assert len({i // 2 for i in fold.left_out[label]}) == 1  # both pictures of one source
            assert sorted([*fold.real[label], *fold.left_out[label]]) == list(range(6))
            for name in sets:
                kept = {i % 6 for i in fold.variations[name][label]}
                assert kept == set(fold.real[label])


def test_too_few_sources_or_variations_for_the_folds_are_refused(pictures):
    real, (sets, _) = real_of(pictures), open_variations(pictures / "sets", CLASSES)
    with pytest.raises(RequestError, match="The real pictures of blue") as caught:
        folds_of(real, sets, 7)
    assert caught.value.found == "6 sources"
    for path in sorted((pictures / "sets" / "low" / "red").iterdir()):
        if int(path.stem) % 6:
            path.unlink()
    with pytest.raises(RequestError, match="The variations low of red"):
        folds_of(real, open_variations(pictures / "sets", CLASSES)[0], 3)


def test_the_set_with_the_best_left_out_accuracy_is_chosen(pictures):
    """The stand-in for a classifier is right if it was trained on variations of the set that is bright."""
    real, (sets, _) = real_of(pictures), open_variations(pictures / "sets", CLASSES)
    dark = [np.zeros((12, 4, 4, 3), np.uint8)] * 2
    arrays = {"high": dark, "low": [one + np.uint8(9) for one in dark]}
    calls = []

    def predicted(label, sources, tested, seed):
        calls.append((label, seed, [[len(one) for one in source] for source in sources]))
        right = sources[1][0].max() > 0
        return [np.full(len(one), place if right else 1) for place, one in enumerate(tested)]

    choice = choose_set(folds_of(real, sets, 3), [np.zeros((6, 4, 4, 3), np.uint8)] * 2, arrays, 2, predicted)
    assert (choice.chosen, choice.scores) == ("low", {"high": 0.5, "low": 1.0})
    assert (choice.folds, choice.seeds) == (3, 2)
    assert len(calls) == 2 * 3 * 2
    assert calls[0] == ("choice: high, fold 1", 0, [[4, 4], [8, 8]])


def test_settings_out_of_range_are_refused():
    with pytest.raises(RequestError, match="--choice-folds"):
        ChoiceSettings(choice_folds=1)
