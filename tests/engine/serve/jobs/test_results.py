"""Finished pictures of a job."""

import base64
import io
import json
import shutil

from PIL import Image

from engine.serve.jobs.results import line_of, pictures_from


def test_pictures_come_in_the_order_of_the_run_and_from_where_a_reader_stopped(run_folder):
    found = list(pictures_from(run_folder))
    assert [(one.row["class"], one.row["seed"], one.index) for one in found] == [
        ("cyt_mast", 7, 0),
        ("cyt_mast", 8, 1),
        ("cyt_mast", 9, 2),
        ("cyt_nep_mast", 7, 0),
        ("cyt_nep_mast", 8, 1),
        ("cyt_nep_mast", 9, 2),
    ]
    assert list(pictures_from(run_folder, found[2].next_offset, 3)) == found[3:]


def test_a_line_that_is_being_written_is_left_out(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    metadata = (folder / "metadata.jsonl").read_bytes()
    (folder / "metadata.jsonl").write_bytes(metadata[:-5])
    assert len(list(pictures_from(folder))) == 5


def test_a_folder_without_pictures_has_none(tmp_path):
    assert list(pictures_from(tmp_path)) == []


def test_a_line_holds_the_file_and_how_it_was_made(run_folder):
    line = json.loads(line_of(next(iter(pictures_from(run_folder)))))
    assert (line["index"], line["class"], line["seed"]) == (0, "cyt_mast", 7)
    png = base64.b64decode(line["png"])
    assert png == (run_folder / "cyt_mast/000000.png").read_bytes()
    assert Image.open(io.BytesIO(png)).size == (32, 32)
    assert line["description"]["synthetic"] is True
