"""Records of classes, from a command line and from a file."""

from __future__ import annotations

import pytest
from PIL import Image

from engine.errors import RequestError
from trainer.training.record import ClassRecord, ClassSettings


def test_a_record_takes_its_name_prompt_and_number_from_the_folder(tmp_path):
    (tmp_path / "cyt_mast").mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"cyt_mast/{i}.png")
    record = ClassSettings(origin="phantom").record_of(tmp_path / "cyt_mast")
    assert record == ClassRecord("cyt_mast", "cyt mast", "phantom", 3)
    given = ClassSettings("cyst", "a cyst", "photographs", 2, "CC0", "A. B.")
    assert given.record_of(tmp_path / "cyt_mast") == ClassRecord("cyst", "a cyst", "photographs", 2, "CC0", "A. B.")


def test_given_values_replace_those_of_a_file():
    record = ClassRecord("cyst", "cyst", "phantom", 3)
    assert ClassSettings().changed(record, "x") == record
    assert ClassSettings(licence="CC0").changed(record, "x") == ClassRecord("cyst", "cyst", "phantom", 3, "CC0")


def test_a_file_without_a_record_needs_origin_and_pictures():
    with pytest.raises(RequestError, match="--origin and --pictures"):
        ClassSettings().changed(None, "big_cyst")
    found = ClassSettings(origin="phantom", pictures=3).changed(None, "big_cyst")
    assert found == ClassRecord("big_cyst", "big cyst", "phantom", 3)
