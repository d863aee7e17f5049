"""A backend that spoils pictures, and runs on it."""

from __future__ import annotations

import functools

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.output.formats import Output
from engine.pipeline import rescue
from engine.runs import generate as run
from engine.runs import production


class Poisoned:
    """OpenVINO whose decoder spoils pictures: `spoil(images, finite, call)` changes both in place."""

    name, version, device = "openvino", "poisoned", None

    def __init__(self, spoil):
        self._inner, self._spoil, self._calls = OpenVINOBackend(precision="f32"), spoil, 0
        self.on_gpu, self.takes_long_context = self._inner.on_gpu, self._inner.takes_long_context
        self.arithmetic = self._inner.arithmetic

    def open(self, path, inputs, outputs):
        model = self._inner.open(path, inputs, outputs)
        if "finite" in outputs:
            run = model.run

            def spoilt(arrays):
                result = run(arrays)
                self._spoil(result["images"], result["finite"], self._calls)
                self._calls += 1
                return result

            model.run = spoilt
        return model


def spoil_two(images, finite, call):
    """In the second chunk, the first picture is not finite and the third is blank."""
    if call == 1:
        finite[0] = False
        images[2] = 7


def poisoned_run(bundle_folder, out, spoil=spoil_two, **options):
    bundle = open_bundle(str(bundle_folder))
    job = make_job(bundle, ["cyt_mast"], 11, settings_of(batch_size=4, backend="openvino", precision="auto", **options))
    return run.generate(job, Output(out), backend=Poisoned(spoil))


def keep_bad(monkeypatch):
    """Let the first picture of every chunk stay bad, in the second try of the rescue too."""

    def spoil_first(images, finite, call):
        finite[0] = False

    stubborn = functools.partial(rescue.Rescue, open_cpu=lambda job: Poisoned(spoil_first))
    monkeypatch.setattr(production, "Rescue", stubborn)
