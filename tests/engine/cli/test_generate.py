"""`engine generate`: what it writes, that it continues, and what it refuses."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from tests.engine.folders import contents, pictures


@pytest.fixture(scope="module")
def finished(in_process, tiny_bundle, tmp_path_factory):
    """A run of two classes and seven pictures each, chunks of four."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    arguments = ["--bundle", tiny_bundle, "--class", "all", "--n", 7, "--seed", 5, "--out", out]
    done = in_process("engine", "generate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), arguments


def test_pictures_metadata_record_and_sheet(finished, tiny_bundle):
    out, printed, _ = finished
    assert printed["total"] == printed["made"] == 14
    assert len(pictures(out)) == 14
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert [row["file_name"] for row in rows] == sorted(pictures(out))
    assert {row["seed"] for row in rows} == set(range(5, 12))
    with Image.open(out / rows[3]["file_name"]) as picture:
        assert picture.size == (32, 32)
        assert picture.mode == "RGB"
        description = json.loads(picture.text["cytosynth"])
    assert {"file_name": rows[3]["file_name"], **description} == rows[3]
    assert description["synthetic"] is True
    assert description["trained_on"] == "phantom"
    assert description["licence"] == "CC0"
    manifest = (tiny_bundle / "manifest.json").read_bytes()
    assert description["bundle_sha256"] == hashlib.sha256(manifest).hexdigest()
    record = json.loads((out / "run.json").read_text())
    assert record["complete"] is True
    assert record["identity"]["class_names"] == ["cyt_mast", "cyt_nep_mast"]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 7 * 32


def test_pictures_differ_by_seed_and_by_class(finished):
    digests = pictures(finished[0])
    assert len(set(digests.values())) == len(digests)


def test_the_same_command_again_changes_nothing(finished, in_process):
    out, _, arguments = finished
    before = pictures(out)
    again = in_process("engine", "generate", *arguments, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["made"] == 0
    assert pictures(out) == before


def test_a_picture_is_its_class_and_seed(finished, in_process, tiny_bundle, tmp_path):
    """Picture 2 of a run from seed 5 is picture 0 of a run from seed 7 with the same batch size."""
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--seed", 7, "--batch-size", 4]
    assert in_process("engine", "generate", *arguments, "--out", tmp_path / "out").returncode == 0
    with (
        Image.open(finished[0] / "cyt_mast/000002.png") as one,
        Image.open(tmp_path / "out/cyt_mast/000000.png") as two,
    ):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


def test_a_drawn_seed_and_a_measured_batch_size_are_recorded_and_kept(in_process, tiny_bundle, tmp_path):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 3, "--steps", 2, "--out", tmp_path / "out"]
    arguments += ["--seed", -1, "--batch-size", "auto", "--json"]
    first = in_process("engine", "generate", *arguments)
    assert first.returncode == 0, first.stderr
    assert "Batch size:" in first.stderr
    again = in_process("engine", "generate", *arguments)
    assert again.returncode == 0, again.stderr
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert (two["seed"], two["batch_size"], two["made"]) == (one["seed"], one["batch_size"], 0)
    assert one["batch_size"] in (2, 4, 8)
    identity = json.loads((tmp_path / "out/run.json").read_text())["identity"]
    assert (identity["seed"], identity["batch_size"]) == (one["seed"], one["batch_size"])


def test_a_continued_run_keeps_its_precision(in_process, tiny_bundle, tmp_path):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--steps", 1, "--out", tmp_path / "out"]
    assert in_process("engine", "generate", *arguments, "--precision", "f32").returncode == 0
    assert in_process("engine", "generate", *arguments).returncode == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["identity"]["precision"] == "f32"
    done = in_process("engine", "generate", *arguments, "--precision", "auto")
    assert done.returncode == 2
    assert "precision 'f32' in the existing run, 'auto' requested" in done.stderr


def test_a_folder_that_cannot_be_made_is_refused(in_process, tiny_bundle, tmp_path):
    (tmp_path / "file").write_text("mine")
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--out", tmp_path / "file/out"]
    done = in_process("engine", "generate", *arguments)
    assert done.returncode == 2
    assert "is not a folder" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_guidance_changes_the_picture_and_scale_one_needs_no_second_half(in_process, tiny_bundle, tmp_path):
    for scale in ("1", "6"):
        arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--guidance-scale", scale]
        assert in_process("engine", "generate", *arguments, "--out", tmp_path / scale).returncode == 0
    assert len(set({**pictures(tmp_path / "1"), "6": pictures(tmp_path / "6")["cyt_mast/000000.png"]}.values())) == 2


WRONG = {
    "unknown schedule": (["--schedule", "linear"], ["--schedule", "karras"]),
    "too many steps of a coarse grid": (["--sampler", "ddim", "--steps", "1000"], ["--steps", "noise level"]),
    "a seed of many digits": (["--seed", "9" * 400], ["--seed"]),
    "unknown rng": (["--rng", "cpu"], ["--rng", "numpy, nv"]),
    "unknown backend": (["--backend", "cudnn"], ["--backend", "auto, openvino"]),
    "no GPU": (["--backend", "tensorrt"], ["The backend tensorrt", "pip install"]),
    "f32 on float16": (["--backend", "onnxruntime", "--precision", "f32"], ["--precision f32", "openvino"]),
    "width": (["--width", "33"], ["--width", "a multiple of 8"]),
    "no such preset": (["--preset", "fast"], ["--preset", "one of none"]),
    "interval": (["--guidance-interval", "3", "2"], ["--guidance-interval"]),
    "langevin's option": (["--langevin-step-size", "0.1"], ["--sampler langevin"]),
    "langevin too large": (["--sampler", "langevin", "--langevin-step-size", "1"], ["--langevin-step-size"]),
    "batch of words": (["--batch-size", "many"], ["--batch-size", "or auto"]),
    "format": (["--format", "zip"], ["--format", "webdataset"]),
    "unknown class": (["--class", "cyt_mist"], ["The class cyt_mist", "cyt_mast, cyt_nep_mast"]),
    "n of zero": (["--n", "0"], ["--n", "found:    0", "expected: 1 to"]),
    "n below zero": (["--n", "-3"], ["--n", "found:    -3"]),
    "unknown sampler": (["--sampler", "dpm_adaptive"], ["--sampler", "dpmpp_2m"]),
    "steps of zero": (["--steps", "0"], ["--steps"]),
    "batch of zero": (["--batch-size", "0"], ["--batch-size"]),
    "seed below -1": (["--seed", "-2"], ["--seed"]),
    "no such bundle": (["--bundle", "/nowhere/at/all"], ["The bundle /nowhere/at/all"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_exit_2_and_touch_nothing(case, in_process, tiny_bundle, tmp_path):
    extra, words = WRONG[case]
    out = tmp_path / "out"
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--out", out]
    done = in_process("engine", "generate", *arguments, *extra)
    assert done.returncode == 2, done.stderr
    for word in (*words, "expected:", "fix:"):
        assert word in done.stderr
    assert not out.exists()


def test_another_request_into_the_same_folder_is_refused_with_what_differs(finished, in_process, tiny_bundle):
    out, _, arguments = finished
    before = contents(out)
    done = in_process("engine", "generate", *arguments, "--seed", 6)
    assert done.returncode == 2
    assert "seed 5 in the existing run, 6 requested" in done.stderr
    assert contents(out) == before


def test_a_folder_with_foreign_files_is_refused_even_with_overwrite(in_process, tiny_bundle, tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--out", tmp_path]
    for extra in ([], ["--overwrite"]):
        done = in_process("engine", "generate", *arguments, *extra)
        assert done.returncode == 2
        assert "files, but no run.json" in done.stderr
    assert contents(tmp_path).keys() == {"thesis.doc"}


def test_files_of_the_operating_system_do_not_fill_a_folder(in_process, tiny_bundle, tmp_path):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_text("x")
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 1, "--out", tmp_path]
    assert in_process("engine", "generate", *arguments).returncode == 0
    assert (tmp_path / ".DS_Store").read_text() == "x"


def test_overwrite_replaces_a_run_and_leaves_other_files(in_process, tiny_bundle, tmp_path):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--out", tmp_path / "out"]
    assert in_process("engine", "generate", *arguments, "--n", 3).returncode == 0
    (tmp_path / "out/notes.txt").write_text("mine")
    assert in_process("engine", "generate", *arguments, "--n", 2, "--overwrite").returncode == 0
    assert len(pictures(tmp_path / "out")) == 2
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
