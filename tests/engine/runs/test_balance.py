"""`generate --balance`: what each class of a folder of real pictures lacks is made."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.runs.balance import missing_pictures


def write(folder, count):
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / f"{i}.png")


@pytest.fixture
def real(tmp_path):
    """Five pictures of one class, two of the other, and a file that is no picture."""
    write(tmp_path / "real/cyt_mast", 5)
    write(tmp_path / "real/cyt_nep_mast", 2)
    (tmp_path / "real/cyt_mast/notes.txt").write_text("x")
    return tmp_path / "real"


KNOWN = ("cyt_mast", "cyt_nep_mast", "other")


@pytest.mark.parametrize(
    ("chosen", "total", "missing"),
    [
        ([], None, {"cyt_nep_mast": 3}),
        (["all"], 7, {"cyt_mast": 2, "cyt_nep_mast": 5}),
        (["cyt_mast"], 6, {"cyt_mast": 1}),
        (["cyt_mast"], None, {}),
        ([], 2, {}),
    ],
)
def test_what_lacks_is_counted(real, chosen, total, missing):
    assert missing_pictures(real, KNOWN, chosen, total) == missing


def test_refusals(real, tmp_path):
    with pytest.raises(RequestError, match="wrong: cyt_nep_mast"):
        missing_pictures(real, ["cyt_mast"], [], None)
    with pytest.raises(RequestError, match="wrong: other"):
        missing_pictures(real, KNOWN, ["other"], None)
    for total in (0, -5):
        with pytest.raises(RequestError, match=rf"--n\n  found:    {total}\n"):
            missing_pictures(real, KNOWN, [], total)
    with pytest.raises(RequestError, match="no folder for a class"):
        missing_pictures(tmp_path / "none", KNOWN, [], None)
    (real / "cyt_mast/broken.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"broken\.png"):
        missing_pictures(real, KNOWN, [], None)


def test_a_run_makes_a_class_equal_to_the_largest_and_is_no_real_folder(real, in_process, tiny_bundle, tmp_path):
    words = ["engine", "generate", "--bundle", tiny_bundle, "--steps", 2, "--balance"]
    done = in_process(*words, real, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made"] == 3
    assert sorted(path.name for path in (tmp_path / "out/cyt_nep_mast").iterdir()) == [f"{i:06d}.png" for i in range(3)]
    assert not (tmp_path / "out/cyt_mast").exists()
    assert in_process(*words, real, "--out", tmp_path / "out", "--json").returncode == 0
    again = in_process(*words, tmp_path / "out", "--out", tmp_path / "more")
    assert again.returncode == 2
    assert "a synthetic picture" in again.stderr
    assert not (tmp_path / "more").exists()


def test_counts_differ_by_class_in_one_run(real, in_process, tiny_bundle, tmp_path):
    words = [
        "engine",
        "generate",
        "--bundle",
        tiny_bundle,
        "--steps",
        2,
        "--balance",
        real,
        "--n",
        8,
        "--batch-size",
        2,
    ]
    done = in_process(*words, "--out", tmp_path / "out", "--format", "webdataset", "--shard-pictures", 4)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
    assert [row["class"] for row in rows] == ["cyt_mast"] * 3 + ["cyt_nep_mast"] * 6
    assert [row["seed"] for row in rows] == [*range(3), *range(6)]
    info = json.loads((tmp_path / "out/_info.json").read_text())["splits"]["train"]
    assert info["shard_lengths"] == [4, 4, 1]


def test_neither_count_nor_balance_is_refused(in_process, tiny_bundle, tmp_path):
    done = in_process("engine", "generate", "--bundle", tiny_bundle, "--class", "cyt_mast", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no --n" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_number_below_one_is_refused(real, in_process, tiny_bundle, tmp_path):
    done = in_process(
        "engine", "generate", "--bundle", tiny_bundle, "--balance", real, "--n", -5, "--out", tmp_path / "x"
    )
    assert done.returncode == 2
    assert "-5" in done.stderr


def test_nothing_lacking_is_done(real, in_process, tiny_bundle, tmp_path):
    done = in_process(
        "engine", "generate", "--bundle", tiny_bundle, "--balance", real, "--n", 1, "--out", tmp_path / "x"
    )
    assert done.returncode == 0
    assert "has enough pictures" in done.stdout
    assert not (tmp_path / "x").exists()
