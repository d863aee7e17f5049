"""Presets with a learned table: the pictures of their numbers, how they are recorded, and what they exclude."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import RequestSettings, SamplingSettings


@pytest.fixture
def bundle(bundle_copy):
    """A bundle with a preset whose table has the numbers of the bundle's default in three steps."""
    path = bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    settings = RequestSettings(sampling=SamplingSettings(num_inference_steps=3))
    job = make_job(open_bundle(str(bundle_copy)), ["cyt_mast"], 1, settings)
    names = ("sigma", "timestep", "a", "b", "c")
    rows = [
        {name: getattr(row, name) for name in names} | {"guidance_scale": scale}
        for row, scale in zip(job.plan.rows, job.scales, strict=True)
    ]
    manifest["presets"] = {"turbo": {"table": rows}}
    path.write_text(json.dumps(manifest))
    return bundle_copy


def test_a_table_draws_the_pictures_of_its_numbers_and_they_can_be_drawn_again(bundle, in_process, tmp_path):
    options = ("engine", "generate", "--bundle", bundle, "--class", "cyt_mast", "--n", 2)
    for name, chosen in (("steps", ("--steps", 3)), ("table", ("--preset", "turbo"))):
        done = in_process(*options, *chosen, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    files = [sorted((tmp_path / name / "cyt_mast").glob("*.png")) for name in ("steps", "table")]
    for one, other in zip(*files, strict=True):
        assert Image.open(one).tobytes() == Image.open(other).tobytes()
    texts = Image.open(files[1][1]).text
    assert "Sampler: Learned" in texts["parameters"]
    done = in_process(
        "engine", "generate", "--like", files[1][1], "--bundle", bundle, "--out", tmp_path / "like", "--batch-size", 8
    )
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "like/cyt_mast").glob("*.png")
    assert (
        json.loads(Image.open(again).text["cytosynth"])["plan_sha256"] == json.loads(texts["cytosynth"])["plan_sha256"]
    )


@pytest.mark.parametrize(
    "option", ["--steps 3", "--sampler euler", "--schedule normal", "--guidance-scale 2", "--hires-scale 2"]
)
def test_what_would_change_a_table_is_refused(option, bundle, in_process, tmp_path):
    asked = ("engine", "generate", "--bundle", bundle, "--class", "cyt_mast", "--preset", "turbo", "--n", 1)
    done = in_process(*asked, *option.split(), "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"{option.split()[0]}, too" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_wrong_table_is_refused_with_the_field(bundle, in_process):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["presets"]["turbo"]["table"][1]["sigma"] = 1e9
    path.write_text(json.dumps(manifest))
    done = in_process("engine", "info", bundle)
    assert done.returncode == 2
    assert "presets.turbo.table" in done.stderr
