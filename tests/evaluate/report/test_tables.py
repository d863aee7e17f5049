"""Tables and sentences that summarise a record."""

from __future__ import annotations

import shutil

from PIL import Image

QUICK = ("--bootstrap", 20, "--splits", 10)


def test_the_table_names_floor_controls_definitions_and_verdict(phantoms, in_process):
    real = phantoms / "real" / "cyt_mast"
    done = in_process("evaluate", "score", real, phantoms / "synthetic" / "cyt_mast", *QUICK, "--explain")
    assert done.returncode == 0, done.stderr
    for words in ("floor (real)", "blurred reals", "give --other DIR", "not FID", "[5 %, 95 %]"):
        assert words in done.stdout
    assert done.stdout.startswith("Synthetic pictures are ")


def test_the_output_calls_a_blind_feature_set_insensitive(phantoms, in_process, tmp_path):
    """The other class holds the same real pictures, mirrored: no figure can tell them apart."""
    shutil.copytree(phantoms / "real" / "cyt_mast", tmp_path / "other")
    for path in (tmp_path / "other").iterdir():
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--other", tmp_path / "other", *QUICK, "--features", "cyto")
    assert done.returncode == 0, done.stderr
    assert "The feature set cyto is INSENSITIVE for these pictures: none of FD-cyto, KD-cyto tells" in done.stdout
    assert "another class" in done.stdout.partition("INSENSITIVE")[2]


def test_ten_repeated_reals_need_20_pictures(phantoms, in_process):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, *QUICK, "--features", "cyto", "--explain")
    assert "it needs N of at least 20" in done.stdout
