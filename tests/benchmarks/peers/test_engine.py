"""The engine with a preset beside its peers: what it draws, what the record says, and its section of the page."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks.pages.markdown_page import Page
from benchmarks.pages.page import MAKES
from benchmarks.pages.peers_page import PRESET_RECORD, preset_comparison
from engine.bundle.folder import open_bundle
from tests.exporter.distilled import distilled, table_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of diffusers' scheduler
]
STEPS, BATCH = 4, 2


@pytest.fixture(scope="module")
def turbo(whole_path, tiny_bundle, in_process, tmp_path_factory):
    """The tiny bundle with the preset turbo, whose table has three rows and whose UNet of cyt_mast is another one."""
    folder = tmp_path_factory.mktemp("turbo")
    bundle = shutil.copytree(tiny_bundle, folder / "bundle")
    merged = distilled(whole_path / "merged/cyt_mast", folder / "cyt_mast")
    table = table_of(folder / "turbo.json", open_bundle(str(bundle)).manifest)
    done = in_process("exporter", "preset", bundle, "turbo", merged, "--table", table)
    assert done.returncode == 0, done.stderr
    return bundle


@pytest.fixture(scope="module")
def compare(turbo, whole_path, in_process):
    """Compare the engine with diffusers on a preset, with further options; return the record."""

    def run(*options):
        asked = ["--merged", whole_path / "merged/cyt_mast", "--preset", "turbo", "--steps", STEPS]
        asked += ["--batch-size", BATCH, "--rounds", 1, "--threads", 1, "--json"]
        done = in_process("benchmarks", "peers", turbo, *asked, *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def record(compare):
    return compare("--system", "engine")


def test_the_engine_draws_with_the_preset_and_diffusers_with_the_other_settings(record, turbo):
    manifest = open_bundle(str(turbo)).manifest
    preset = record["preset"]
    assert (preset["name"], preset["steps"], preset["unet_rows"]) == ("turbo", 3, 3)
    assert preset["unets_sha256"] == manifest.unets_sha256(["cyt_mast"], "turbo")
    assert (record["steps"], record["guidance_scale"]) == (STEPS, manifest.defaults.guidance_scale)
    (row,) = record["compared"]
    assert {"diffusers float32", "engine openvino f32", "engine onnxruntime"} <= row["seconds"].keys()
    # The engine agrees with itself. Its pictures are not those of diffusers.
    assert row["deviation"]["engine onnxruntime"] > 40
    assert preset["compared_with"] == "engine openvino f32"
    assert "engine openvino f32" not in row["deviation"]
    best = row["seconds"]["diffusers float32"][0]
    for name in ("engine openvino f32", "engine onnxruntime"):
        assert row["times_the_best_of_diffusers"][name] == pytest.approx(best / row["seconds"][name][0])
    assert row["operations_per_second"].keys() == {"diffusers float32"}


def test_a_system_without_the_one_to_compare_it_with_is_not_timed(compare):
    (row,) = compare("--system", "engine onnxruntime")["compared"]
    assert row["refused"] == {"engine onnxruntime": "engine openvino f32 has no result to compare with"}
    assert "engine onnxruntime" not in row["seconds"]


def test_the_page_has_a_section_of_the_preset(record, tmp_path):
    (tmp_path / PRESET_RECORD).write_text(json.dumps(record))
    page = Page(tmp_path, tmp_path / "page.md", MAKES)
    preset_comparison(page)
    page.finish()
    text = (tmp_path / "page.md").read_text()
    assert "The engine draws with the preset `turbo`: 3 steps of its own UNets (3 UNet rows per picture)." in text
    (row,) = record["compared"]
    for name, settings in (("diffusers float32", f"{STEPS} steps"), ("engine onnxruntime", "preset `turbo`")):
        line = next(line for line in text.splitlines() if line.startswith(f"| {BATCH} | {name} |"))
        assert f"| {row['times_the_best_of_diffusers'][name]:.2f} | {settings} |" in line
