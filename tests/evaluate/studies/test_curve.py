"""`curve`: from checkpoints to tables beside the thesis's, on a tiny base; what stands is not done again."""

from __future__ import annotations

import json
import shutil

import pytest

from engine.errors import RequestError
from evaluate.studies.curve import find_checkpoints
from evaluate.studies.thesis import MEANS, PUBLISHED


@pytest.fixture(scope="module")
def checkpoints(whole_path, tmp_path_factory):
    """As fit --save-every leaves them: cyt_mast after 5,000 and 10,000 steps, cyt_nep_mast after 5,000."""
    folder = tmp_path_factory.mktemp("hypernetworks")
    (folder / "steps").mkdir()
    for name, step in (("cyt_mast", 5000), ("cyt_mast", 10000), ("cyt_nep_mast", 5000)):
        for suffix in ("safetensors", "json"):
            if (source := whole_path / "hypernetworks" / f"{name}.{suffix}").is_file():
                shutil.copy(source, folder / "steps" / f"{name}-{step:06d}.{suffix}")
    return folder


def test_checkpoints_are_found_in_order(checkpoints):
    found = find_checkpoints(checkpoints, [], [])
    assert [one.name for one in found] == ["cyt_mast-5000", "cyt_mast-10000", "cyt_nep_mast-5000"]
    assert [one.name for one in find_checkpoints(checkpoints, ["cyt_nep_mast"], [])] == ["cyt_nep_mast-5000"]
    assert [one.name for one in find_checkpoints(checkpoints, ["cyt_mast"], [10000])] == ["cyt_mast-10000"]


@pytest.mark.parametrize(
    ("names", "steps", "missing"),
    [
        (["cyt_kist_mast"], [], "cyt_kist_mast"),
        (["cyt_mast"], [15000], "cyt_mast-15000"),
        (["cyt_mast", "cyt_nep_mast"], [10000], "cyt_nep_mast-10000"),
    ],
)
def test_missing_checkpoints_are_named(names, steps, missing, checkpoints):
    with pytest.raises(RequestError) as refused:
        find_checkpoints(checkpoints, names, steps)
    assert f"expected: {missing}\n" in str(refused.value)
    assert "cyt_mast-010000.safetensors" in str(refused.value)


def test_the_theses_means_are_those_of_its_tables():
    """Its table 3.7 follows from 3.3 to 3.6, up to its rounding; cyt_nep_fib_mast's IS is 2.7275."""
    for name, by_step in PUBLISHED.items():
        for place in (0, 1):
            mean = sum(pair[place] for pair in by_step.values()) / len(by_step)
            assert MEANS[name][place] == pytest.approx(mean, abs=0.011)


def test_the_command_makes_scores_and_draws_a_checkpoint(checkpoints, whole_path, in_process, tmp_path):
    real = whole_path / "prepared"
    arguments = ("--base", whole_path / "base", "--real", real, "--out", tmp_path / "curve", "--n", 10)
    options = ("--class", "cyt_nep_mast", "--sampling-steps", 2, "--features", "cyto", "--bootstrap", 20)
    done = in_process("evaluate", "curve", checkpoints, *arguments, *options)
    assert done.returncode == 0, done.stderr
    for words in ("cyt_nep_mast, beside the thesis's table 3.6", "0.60", "2.48", "FD-cyto", "5,000", "table 3.7"):
        assert words in done.stdout
    record = json.loads((tmp_path / "curve" / "record" / "record.json").read_text())
    found = record["results"]["classes"]["cyt_nep_mast"]["5000"]["FD-cyto"]
    assert found["fake"]["value"] > found["floor"]["value"]
    assert "cyt_nep_mast, 5000 steps" in record["inputs"]
    names = [image["file"] for image in record["images"]]
    assert names == ["sheet_cyt_nep_mast.png", "curve_cyt_nep_mast.png", "means.png"]
    made = sorted((tmp_path / "curve" / "checkpoints").rglob("*.png"))
    times = [path.stat().st_mtime_ns for path in made]
    again = in_process("evaluate", "curve", checkpoints, *arguments, *options, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["results"] == record["results"]
    assert [path.stat().st_mtime_ns for path in made] == times
    for change in (("--guidance-scale", 3), ("--sampling-steps", 3), ("--n", 11), ("--base", whole_path / "merged")):
        other = in_process("evaluate", "curve", checkpoints, *arguments, *options, *change)
        assert other.returncode == 2
        assert "cyt_nep_mast-5000" in other.stderr
    assert [path.stat().st_mtime_ns for path in made] == times


def test_a_failing_stage_says_its_command(checkpoints, whole_path, in_process, tmp_path):
    arguments = ("--base", tmp_path / "no-base", "--real", whole_path / "prepared", "--out", tmp_path / "curve")
    done = in_process("evaluate", "curve", checkpoints, *arguments, "--step", 5000, "--n", 4)
    assert done.returncode == 2
    for words in ("python -m trainer merge", "exit code 2", "no-base"):
        assert words in done.stderr
