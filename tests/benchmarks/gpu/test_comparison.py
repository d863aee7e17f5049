"""The parts of the comparison on a GPU that a processor can show: plans on a stand-in of TensorRT, and the clock."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from benchmarks.gpu.comparison import Clock
from benchmarks.gpu.models import Inputs
from benchmarks.gpu.systems import Place, PlanBackend, graph_system, onnxruntime_backend, provider_backend
from engine.bundle.folder import open_bundle
from engine.bundle.plans import Plan, PlanFolder
from engine.errors import RequestError
from tests.engine.backends.fake_tensorrt import make_api


@pytest.fixture
def inputs(tiny_bundle):
    manifest = open_bundle(str(tiny_bundle)).manifest
    rng = np.random.default_rng(0)
    shapes = [manifest.latent_shape, (2 * len(manifest.frequencies),), manifest.context_shape]
    return Inputs(2, *(rng.standard_normal((4, *shape), np.float32) for shape in shapes))


def plans_of(folder, *graphs):
    """Plans for the stand-in of TensorRT: each holds the path of its graph."""
    plans = {}
    for path in graphs:
        content = str(path).encode()
        (folder / f"{path.name}.plan").write_bytes(content)
        plans[path.name] = Plan(f"{path.name}.plan", hashlib.sha256(content).hexdigest(), len(content), "0" * 64)
    return PlanFolder(folder, "rtx", "1.7.1", "8.6", (1, 2), (32, 32), plans)


def test_plans_compute_what_onnxruntime_computes(tiny_bundle, inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = {"step": tiny_bundle / "unet.cyt_mast.onnx", "decode": tiny_bundle / "vae_decoder.onnx"}
    api = make_api()
    backends = {"ort": onnxruntime_backend(Place(True)), "plan": PlanBackend(api, plans_of(tmp_path, *paths.values()))}
    for part, path in paths.items():
        results = {}
        for name, backend in backends.items():
            system = graph_system(name, name, part, path, inputs, backend)
            for _ in range(2):
                seconds, results[name] = system.run()
            assert seconds > 0
        np.testing.assert_allclose(results["plan"].astype(float), results["ort"], atol=1e-4)
    assert results["ort"].shape == (2, 32, 32, 3)
    assert api.cudart.replays == 2


def test_a_build_without_a_provider_and_one_without_cuda_say_how_to_get_it(tmp_path):
    with pytest.raises(RequestError, match="no such provider"):
        provider_backend("TensorrtExecutionProvider", {"x": ((1, 4), (2, 4), (8, 4))}, tmp_path)
    with pytest.raises(RequestError, match=r"cytosynth\[cuda\]"):
        onnxruntime_backend(Place(False))


def test_the_clock_reserves_time_for_systems_that_are_open():
    clock = Clock(time.monotonic() + 100)
    clock.take(60)
    with pytest.raises(RequestError, match="raise --minutes"):
        clock.take(60)
    clock.reserved = 0
    clock.take(60)
