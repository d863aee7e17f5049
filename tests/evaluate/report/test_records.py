"""Records on disk: what is written, what is replaced and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest

from engine.errors import RequestError
from evaluate.report.records import RESULTS, read_record, read_results
from evaluate.studies.copies import CopiesResults
from evaluate.studies.score import ScoreResults

pytestmark = pytest.mark.slow


def test_a_place_that_cannot_be_written_to_exits_2_at_once(phantoms, in_process, tmp_path):
    (tmp_path / "file").write_text("")
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--out", tmp_path / "file" / "record")
    assert done.returncode == 2
    assert "a folder that can be created and written" in done.stderr


def test_a_record_of_another_kind_is_not_replaced(phantoms, in_process, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--out", tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_older_record_is_replaced_and_what_lies_beside_it_stays(phantoms, in_process, tmp_path):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    quick = ("--bootstrap", 20, "--splits", 10, "--features", "cyto")
    for seed in (1, 2):
        done = in_process("evaluate", "score", *folders, *quick, "--seed", seed, "--out", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        (tmp_path / "out" / "mine.txt").write_text("mine")
    assert json.loads((tmp_path / "out" / "record.json").read_text())["results"]["seed"] == 2
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"mine.txt", "real.png", "synthetic.png", "record.json"}


@pytest.mark.parametrize("kind", ["score", "probe", "copies", "morphology", "utility"])
def test_a_record_is_read_as_it_was_written(kind, records):
    found = read_record(records / kind)
    assert found.kind == kind
    assert isinstance(found.results, RESULTS[kind])
    assert json.loads(json.dumps(found.as_json())) == json.loads((records / kind / "record.json").read_text())


def test_a_record_of_another_version_is_read(records, tmp_path):
    """Keys that this version does not know are ignored, and the defaults replace missing ones."""
    copy = shutil.copytree(records / "utility", tmp_path / "utility")
    value = json.loads((copy / "record.json").read_text())
    value["host"] = "laboratory"
    value["results"]["rows"]["from scratch"]["colour"] = "blue"
    del value["results"]["settings"]["resamples"]
    (copy / "record.json").write_text(json.dumps(value))
    found = read_record(copy)
    assert found.results == read_record(records / "utility").results
    assert not hasattr(found, "host")


def test_an_error_names_the_wrong_value(records, tmp_path):
    copy = shutil.copytree(records / "score", tmp_path / "score")
    value = json.loads((copy / "record.json").read_text())
    value["results"]["figures"]["FD-cyto"]["floor"]["low"] = "small"
    (copy / "record.json").write_text(json.dumps(value))
    with pytest.raises(RequestError) as refused:
        read_record(copy)
    assert refused.value.found == "results.figures.FD-cyto.floor.low is 'small', not a number"


def change(folder, **values):
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | values))


def damage_json(folder):
    (folder / "record.json").write_text("{")


def damage_keys(folder):
    (folder / "record.json").write_text('{"kind": "score"}')


def damage_path(folder):
    record = json.loads((folder / "record.json").read_text())
    record["images"][0]["file"] = "../score/real.png"
    (folder / "record.json").write_text(json.dumps(record))


def damage_image(folder):
    (folder / "real.png").unlink()


def damage_kind(folder):
    change(folder, kind="poem")


def damage_inputs(folder):
    change(folder, inputs={"REAL": {"folder": "x"}})


def damage_number(folder):
    change(folder, inputs={"REAL": {"folder": "x", "pictures": "many", "side": 1, "sha256": ""}})


def damage_list(folder):
    change(folder, versions=["1.0"])


def damage_images(folder):
    change(folder, images=["real.png"])


@pytest.mark.parametrize(
    "damage",
    [
        damage_json,
        damage_keys,
        damage_path,
        damage_image,
        damage_kind,
        damage_inputs,
        damage_number,
        damage_list,
        damage_images,
    ],
)
def test_a_damaged_record_is_refused(damage, records, tmp_path):
    copy = shutil.copytree(records / "score", tmp_path / "score")
    damage(copy)
    with pytest.raises(RequestError, match=r"record\.json"):
        read_record(copy)


def test_results_of_another_kind_are_refused(records):
    assert read_results(records / "score", ScoreResults) == read_record(records / "score").results
    with pytest.raises(RequestError, match="a record of `score`, not CopiesResults"):
        read_results(records / "score", CopiesResults)
