"""Facts about a folder: its hash, and the settings that generated its pictures."""

from __future__ import annotations

import json
import shutil

import pytest

from engine.errors import RequestError
from evaluate.images import open_folder
from evaluate.report.inputs import describe_folder, metadata_of


@pytest.fixture
def run(phantoms, tmp_path):
    """A folder of pictures as `engine generate` leaves it."""
    folder = shutil.copytree(phantoms / "synthetic/cyt_mast", tmp_path / "run/cyt_mast")
    rows = [
        {
            "file_name": f"cyt_mast/{path.name}",
            "synthetic": True,
            "class": "cyt_mast",
            "seed": 7 + number,
            "steps": 20,
            "batch_size": 4 if number else 8,
        }
        for number, path in enumerate(sorted(folder.iterdir()))
    ]
    (tmp_path / "run/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_folder_of_a_run_says_what_generated_it(run):
    found = describe_folder(open_folder(run))
    assert (found.pictures, found.side, found.sha256) == (12, 64, open_folder(run).sha256)
    assert found.made_by == {"class": "cyt_mast", "steps": 20, "batch_size": "2 different", "seeds": "7 to 18"}


def test_metadata_of_another_program_is_ignored_and_a_broken_one_refused(run, phantoms):
    assert describe_folder(open_folder(phantoms / "real/cyt_mast")).made_by is None
    metadata = run.parent / "metadata.jsonl"
    metadata.write_text('{"file_name": "cyt_mast/0100.png", "text": "a cat"}\n[1]\n')
    assert metadata_of(open_folder(run)) == {}
    metadata.write_text("{")
    with pytest.raises(RequestError, match=r"metadata\.jsonl"):
        metadata_of(open_folder(run))
