"""The command `score`: its record, its table and the requests that it refuses."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evaluate.images import open_folder


def test_the_command_prints_one_object(phantoms, in_process, tmp_path):
    real = phantoms / "real" / "cyt_mast"
    arguments = (
        "--other",
        phantoms / "real" / "cyt_kist_mast",
        "--splits",
        10,
        "--bootstrap",
        20,
        "--features",
        "cyto",
    )
    done = in_process(
        "evaluate", "score", real, phantoms / "synthetic" / "cyt_mast", *arguments, "--out", tmp_path / "out", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["results"]["n"] == 12
    figures = found["results"]["figures"]["FD-cyto"]
    assert set(figures["controls"]) == {"blurred reals", "another class"}
    assert figures["controls"]["another class"]["value"] > figures["fake"]["value"]
    assert set(found["results"]["figures"]) <= set(found["definitions"])
    assert found["inputs"]["REAL"]["sha256"] == open_folder(real).sha256
    assert "warning: N is 12" in done.stderr
    kept = json.loads((tmp_path / "out" / "record.json").read_text())
    assert kept["results"] == found["results"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert all((tmp_path / "out" / image["file"]).is_file() for image in kept["images"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--n", 13], "--n 13"),
        (["--features", "dino"], "--features"),
        (["--other", "evaluate"], "no picture directly inside"),
    ],
)
def test_wrong_requests_exit_2(arguments, word, phantoms, in_process):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, *arguments)
    assert done.returncode == 2, done.stderr
    for part in ("found:", "expected:", "fix:", word):
        assert part in done.stderr


def test_options_out_of_range_exit_2(phantoms, in_process):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    for arguments in (("--splits", 9), ("--bootstrap", 5), ("--seed", -1)):
        done = in_process("evaluate", "score", *folders, *arguments)
        assert done.returncode == 2
        assert arguments[0] in done.stderr


def test_the_base_is_a_column_of_its_own(phantoms, in_process, tmp_path):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    options = "--splits", 10, "--bootstrap", 20, "--features", "cyto"
    alone = json.loads(in_process("evaluate", "score", *folders, *options, "--json").stdout)
    base = phantoms / "real" / "cyt_kist_mast"
    done = in_process("evaluate", "score", *folders, *options, "--base", base, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"]["figures"]["FD-cyto"]
    assert found["fake"]["value"] == pytest.approx(alone["results"]["figures"]["FD-cyto"]["fake"]["value"], rel=0.2)
    assert found["base"]["value"] > found["fake"]["value"]
    assert (tmp_path / "out" / "base.png").is_file()


def test_a_folder_of_jpeg_beside_one_of_png_is_a_warning(phantoms, in_process, tmp_path):
    real, synthetic = (shutil.copytree(phantoms / name / "cyt_mast", tmp_path / name) for name in ("real", "synthetic"))
    options = "--splits", 10, "--bootstrap", 20, "--features", "cyto"
    for folder, warned in ((real, True), (synthetic, False)):
        for path in list(folder.glob("*.png")):
            Image.open(path).convert("RGB").save(path.with_suffix(".jpg"), quality=90)
            path.unlink()
        done = in_process("evaluate", "score", real, synthetic, *options)
        assert done.returncode == 0, done.stderr
        assert ("JPEG is lossy" in done.stderr) is warned


def grey(folder):
    Image.open(folder / "0100.png").convert("L").save(folder / "0100.png")


def corrupt(folder):
    (folder / "0100.png").write_bytes((folder / "0100.png").read_bytes()[:99])


def transparent(folder):
    Image.new("RGBA", (64, 64), (9, 90, 200, 3)).save(folder / "0100.png")


@pytest.mark.parametrize("damage", [grey, corrupt, transparent])
def test_wrong_pictures_exit_2_and_are_named(damage, phantoms, in_process, tmp_path):
    fake = shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "fake")
    damage(fake)
    done = in_process("evaluate", "score", phantoms / "real" / "cyt_mast", fake, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "0100.png" in done.stderr
    assert not (tmp_path / "out").exists()


def test_pictures_that_say_they_are_synthetic_are_not_taken_for_real(phantoms, in_process, tmp_path):
    """The engine writes this text chunk into its PNG files."""
    made = shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "made")
    info = PngInfo()
    info.add_itxt("cytosynth", "{}")
    Image.open(made / "0100.png").save(made / "0100.png", pnginfo=info)
    real = phantoms / "real" / "cyt_mast"
    for arguments in ((made, real), (real, phantoms / "real" / "cyt_kist_mast", "--other", made)):
        done = in_process("evaluate", "score", *arguments)
        assert done.returncode == 2
        assert "1 of 12 pictures say that they are synthetic" in done.stderr
    assert in_process("evaluate", "score", real, made, "--features", "cyto").returncode == 0


def test_the_same_folder_twice_exits_2(phantoms, in_process):
    done = in_process("evaluate", "score", phantoms / "real" / "cyt_mast", phantoms / "real" / "cyt_mast")
    assert done.returncode == 2
    assert "REAL and FAKE" in done.stderr
    assert "one folder" in done.stderr
