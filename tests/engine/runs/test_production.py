"""The production of a run over several classes: which graphs are opened."""

from __future__ import annotations

import pytest

from engine.backends.select import open_backend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.output.formats import Output
from engine.runs import generate as run
from engine.runs import production
from tests.engine.folders import pictures


@pytest.mark.parametrize("early_bytes", [production.EARLY_BYTES, 0])
def test_classes_open_the_graphs_that_they_share_once(early_bytes, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(production, "EARLY_BYTES", early_bytes)
    job = make_job(
        open_bundle(str(tiny_bundle)), ["all"], 2, settings_of(batch_size=2, backend="openvino", num_inference_steps=1)
    )
    backend, names = open_backend(job), []

    def counting(path, inputs, outputs, open_graph=backend.open):
        names.append(path.name)
        return open_graph(path, inputs, outputs)

    monkeypatch.setattr(backend, "open", counting)
    assert run.generate(job, Output(tmp_path / "out"), backend=backend).made == 2 * len(job.request.class_names)
    assert len(job.request.class_names) > 1
    assert names.count("vae_decoder.onnx") == 1
    assert {name for name in names if name.startswith("unet")} == {
        job.bundle.manifest.classes[name].unet for name in job.request.class_names
    }


def test_pictures_do_not_depend_on_the_classes_of_the_run(tiny_bundle, tmp_path):
    bundle, settings = (
        open_bundle(str(tiny_bundle)),
        settings_of(batch_size=2, backend="openvino", num_inference_steps=1),
    )
    for name, classes in {"all": ["all"], **{one: [one] for one in bundle.manifest.classes}}.items():
        run.generate(make_job(bundle, classes, 3, settings), Output(tmp_path / name))
    alone = {name: made for one in bundle.manifest.classes for name, made in pictures(tmp_path / one).items()}
    assert pictures(tmp_path / "all") == alone
    assert len(alone) == 3 * len(bundle.manifest.classes) == len(set(alone.values()))


@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_a_run_of_fewer_pictures_than_a_batch_gives_the_same_pictures(precision, tiny_bundle, tmp_path):
    """Only the rows of these pictures are computed."""
    bundle, settings = open_bundle(str(tiny_bundle)), settings_of(batch_size=4, precision=precision)
    for n in (1, 4):
        run.generate(make_job(bundle, ["cyt_mast"], n, settings), Output(tmp_path / str(n)))
    [(name, alone)] = pictures(tmp_path / "1").items()
    assert pictures(tmp_path / "4")[name] == alone
