"""Trainings of the page: what is refused, and a class that is served at the end."""

from __future__ import annotations

import json
import time

import pytest

from engine.errors import RequestError
from engine.serve.page.trainings import ClassRequest, Trainings


@pytest.fixture
def trainings(service, tmp_path):
    return Trainings(service, tmp_path / "trainings", ["--base", "none"])


def request(photographs, **changes):
    stated = {"name": "new", "licence": "", "attribution": "", "origin": "photographs"}
    return ClassRequest(**{"pictures": tuple(photographs), **stated, **changes})


def record(folder):
    return json.loads((folder / "training.json").read_text())


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"name": "../x"}, "at most 64 letters"), ({"name": ""}, "nothing"), ({"name": "cyt_mast"}, "served already")],
)
def test_a_wrong_name_is_refused_before_anything_is_written(trainings, photographs, tmp_path, changes, words):
    with pytest.raises(RequestError, match=words):
        trainings.start(request(photographs, **changes))
    assert [*(tmp_path / "trainings").iterdir()] == []


def test_too_few_pictures_and_a_file_that_is_none_are_refused(trainings, photographs, tmp_path):
    with pytest.raises(RequestError, match="at least 12"):
        trainings.start(request(photographs[:11]))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RequestError, match=r"text\.png"):
        trainings.start(request([*photographs[1:], tmp_path / "text.png"]))


@pytest.mark.slow
def test_a_training_that_fails_says_why_and_one_runs_at_a_time(trainings, photographs):
    training = trainings.start(request(photographs))
    with pytest.raises(RequestError, match="one training at a time"):
        trainings.start(request(photographs, name="other"))
    while training.running:
        time.sleep(0.1)
    assert not training.succeeded
    assert "error: " in training.child.output()
    assert "error: " in training.output
    assert training.losses == []
    # It would fail again, so that the next server only offers to continue.
    while not record(training.folder)["stopped"]:
        time.sleep(0.05)
    again = Trainings(trainings._service, trainings._folder, ["--base", "none"])
    assert (again.last.folder, again.last.running) == (training.folder, False)
    assert "error: " in again.last.output


def test_a_trained_class_is_served_after_a_restart(service, bundle_copy, tmp_path):
    """Of two bundles of one name, the second gets a number."""
    kept = tmp_path / "trainings/0123/new"
    kept.parent.mkdir(parents=True)
    bundle_copy.rename(kept)
    before = set(service.bundles)
    Trainings(service, tmp_path / "trainings")
    (added,) = set(service.bundles) - before
    assert service.bundles.pop(added).folder.resolve() == kept.resolve()


def test_a_training_that_the_servers_end_cut_off_goes_on_at_the_next_start(trainings, photographs):
    cut_off = trainings.start(request(photographs))
    trainings.close()
    assert not cut_off.running
    assert record(cut_off.folder)["stopped"] is False
    again = Trainings(trainings._service, trainings._folder, ["--base", "none"])
    assert again.last.folder == cut_off.folder
    assert again.last.child is not None
    again.stop()
    assert not again.last.running
    assert record(cut_off.folder)["stopped"] is True
    resumed = again.resume()
    assert (resumed.folder, record(cut_off.folder)["stopped"]) == (cut_off.folder, False)
    assert resumed.output.count("Beginning, or going on") == 3
    again.close()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"name": "../x", "licence": "", "attribution": "", "origin": "", "stopped": false}']
)
def test_a_record_of_another_form_is_no_training(service, tmp_path, content):
    folder = tmp_path / "trainings/0123"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(content)
    found = Trainings(service, tmp_path / "trainings")
    assert found.last is None
    with pytest.raises(RequestError, match="no training that was stopped"):
        found.resume()
