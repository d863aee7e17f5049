"""The contact sheet of a run, drawn again from untrusted files."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from engine.cli.png_info import read_png
from engine.errors import RequestError
from engine.output.sheet import write_sheet
from tests.engine.hostile import hostile_png


def test_pictures_of_random_bytes_are_errors_and_nothing_is_written(tmp_path):
    """png-info and the contact sheet survive PNG files with changed bytes."""
    rng = np.random.default_rng(1)
    (tmp_path / "c").mkdir()
    hostile_png(tmp_path / "c/000000.png", json.dumps({"class": "c", "seed": 1}))
    whole = np.frombuffer((tmp_path / "c/000000.png").read_bytes(), np.uint8)
    line = {"file_name": "c/000000.png", "class": "c", "trained_on": "phantom"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line))
    refused = 0
    for _ in range(400):
        mutated = whole.copy()
        mutated[rng.integers(len(whole), size=rng.integers(1, 6))] = rng.integers(256)
        (tmp_path / "c/000000.png").write_bytes(mutated.tobytes()[: rng.integers(8, len(whole) + 1)])
        for read in (lambda: read_png(tmp_path / "c/000000.png"), lambda: write_sheet(tmp_path)):
            try:
                read()
            except RequestError:
                refused += 1
        assert {path.name for path in tmp_path.rglob("*")} <= {"c", "000000.png", "metadata.jsonl", "sheet.png"}
    assert 100 < refused < 800


def test_a_sheet_of_no_run_is_refused(in_process, tmp_path):
    done = in_process("engine", "sheet", tmp_path)
    assert done.returncode == 2
    assert "no metadata.jsonl" in done.stderr


def test_few_pictures_of_many_classes_stand_side_by_side(tmp_path):
    """Two pictures of each of eight classes fill at least half of the sheet, captions aside."""
    rows = []
    for number in range(8):
        (tmp_path / f"c{number}").mkdir()
        for picture in range(2):
            name = f"c{number}/{picture:06}.png"
            Image.new("RGB", (96, 64), (200, 20, 20)).save(tmp_path / name)
            rows.append(json.dumps({"file_name": name, "class": f"c{number}", "trained_on": "phantom"}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    sheet = np.asarray(Image.open(write_sheet(tmp_path)))
    painted = (sheet == (200, 20, 20)).all(-1)
    assert painted.sum() == 16 * 96 * 64
    assert painted.mean() > 0.5
