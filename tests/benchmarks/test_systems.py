"""`python -m benchmarks peers`: every system computes every part, and its record makes a page."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from statistics import median
from xml.etree import ElementTree

import pytest
from safetensors.torch import load_file, save_file

from benchmarks.pages.page import main as write_page

pytestmark = pytest.mark.soak

STEPS, BATCH = 3, 2
OPTIONS = ["--batch-size", BATCH, "--steps", STEPS, "--rounds", 2, "--threads", 1]


@pytest.fixture(scope="module")
def record(in_process, stochastic, tmp_path_factory):
    """A comparison of every part, and the folder of its file. All systems draw grain from equal noise."""
    folder = tmp_path_factory.mktemp("bench")
    parts = ["--part", "picture", "--part", "step", "--part", "decode", "--cyto-bench", folder / "absent"]
    chosen = ["--system", "engine", "--system", "ONNX", "--system", "cyto", "--system", "stable-diffusion.cpp"]
    options = ["--merged", stochastic / "merged/cyt_mast", *OPTIONS, *parts, *chosen]
    options += ["--record", folder / "peers_small.json"]
    with warnings.catch_warnings():
        # diffusers' solver is older than NumPy 2.
        warnings.simplefilter("ignore", DeprecationWarning)
        done = in_process("benchmarks", "peers", stochastic / "bundle", *options, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "peers_small.json").read_text())
    assert found == json.loads(done.stdout)
    return folder, found


def test_every_system_computes_every_part(record):
    _, found = record
    assert [row["part"] for row in found["compared"]] == ["picture", "step", "decode"]
    counted = found["operations"]
    assert counted["picture"] == 2 * STEPS * counted["unet_row"] + counted["decode"]
    for row in found["compared"]:
        expected = {"diffusers float32", "ONNX Runtime float32", "engine openvino f32", "engine onnxruntime"}
        assert expected <= row["seconds"].keys()
        assert row["not_measured"]["diffusers bfloat16"] == "not selected by --system"
        assert all(len(values) == 2 for values in row["seconds"].values())
        for name in ("ONNX Runtime float32", "engine openvino f32", "engine onnxruntime"):
            deviation = row["deviation"][name]
            assert deviation < 0.01 if row["part"] == "step" else deviation > 40
        medians = {name: median(values) for name, values in row["seconds"].items()}
        best = min(seconds for name, seconds in medians.items() if row["program"][name] == "diffusers")
        for name, ratio in row["times_the_best_of_diffusers"].items():
            assert ratio == pytest.approx(best / medians[name])
            assert row["per_second"][name] == pytest.approx(BATCH / medians[name])
        (name,) = (name for name in row["not_measured"] if name.startswith("cyto_bench f32"))
        assert "not built (make cpp-bench)" in row["not_measured"][name]
        assert "engine tensorrt" in {*row["not_measured"], *row["seconds"]}
        assert "size of Stable Diffusion 1.5" in row["not_measured"]["stable-diffusion.cpp float32"]


def test_the_page_has_the_ratios_and_names_what_is_missing(record, tmp_path, monkeypatch):
    folder, found = record
    shutil.copy(folder / "peers_small.json", tmp_path)
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["page", str(tmp_path), str(page)])
    write_page()
    text = page.read_text()
    row = found["compared"][0]
    assert (
        "| diffusers bfloat16 | not selected by --system | picture, batch 2; step, batch 2; decode, batch 2 |" in text
    )
    ratio = f"{row['times_the_best_of_diffusers']['engine onnxruntime']:.2f}"
    line = next(line for line in text.splitlines() if line.startswith(f"| {BATCH} | engine onnxruntime |"))
    assert f"| {ratio} |" in line
    for name in ("stages.json", "scaling.json", "peers_full_size.json", "front.json"):
        assert f"`{name}` | no record; `" in text
    for link in ("plots/small_picture_limit.svg", "plots/small_step_limit.svg"):
        assert f"({link})" in text
        assert ElementTree.parse(tmp_path / link).getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_a_system_of_other_weights_is_not_timed(in_process, whole_path, tiny_bundle, tmp_path):
    merged = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / "merged")
    (path,) = (merged / "unet").glob("*.safetensors")
    weights = load_file(path)
    weights["conv_out.weight"] *= 1.2
    save_file(weights, path, {"format": "pt"})
    options = ["--merged", merged, *OPTIONS, "--part", "step", "--system", "engine", "--json"]
    done = in_process("benchmarks", "peers", tiny_bundle, *options)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["compared"]
    assert {"engine openvino f32", "engine onnxruntime"} <= row["refused"].keys()
    assert not row["refused"].keys() & row["seconds"].keys()
    assert row["deviation"]["engine onnxruntime"] == pytest.approx(0.2 / 1.2, abs=0.05)
