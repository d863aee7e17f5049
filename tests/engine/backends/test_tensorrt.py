"""The TensorRT runner, with ONNX Runtime executing the same graphs in TensorRT's place: what is bound, in which order,
with which batch, and what is refused."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engine.backends import tensorrt
from engine.backends.onnxruntime import ORTBackend
from engine.backends.tensorrt import TensorRTBackend
from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError, RequestError
from engine.output.formats import Output
from engine.pipeline.pipeline import Pipeline
from engine.runs import generate as run
from tests.engine.backends.fake_tensorrt import make_api
from tests.engine.folders import contents
from tests.engine.plans import job_of, write_plans

SEEDS = [1, 2]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def tiny_bundle(stochastic):
    """The tiny bundle with a decoder that draws grain, and so has a second input."""
    return stochastic / "bundle"


@pytest.mark.parametrize("flavour", ["rtx", "tensorrt"])
@pytest.mark.parametrize("options", [{}, {"guidance_interval": (0.3, 8.0)}, {"sampler": "euler_a"}])
def test_the_runner_makes_the_pictures_of_the_other_backends(flavour, options, bundle_copy):
    write_plans(bundle_copy, flavour=flavour)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, **options)
    api = make_api(flavour)
    with Pipeline(job, "cyt_mast", ORTBackend()) as pipeline:
        wanted = pipeline.generate_latents(SEEDS)
        pictures, _ = pipeline.decode(wanted, SEEDS)
    with Pipeline(job, "cyt_mast", TensorRTBackend(job, api)) as pipeline:
        # The first run is plain, the later ones replay a graph where no noise comes from the host.
        for _ in range(3):
            np.testing.assert_allclose(pipeline.generate_latents(SEEDS), wanted, rtol=0, atol=1e-5)
        other = pipeline.generate_latents([8, 9])
        found, finite = pipeline.decode(wanted, SEEDS)
    assert np.abs(other - wanted).max() > 0.1
    np.testing.assert_array_equal(found, pictures)
    assert finite.all()
    assert api.cudart.replays == (0 if options.get("sampler") == "euler_a" else 3)


def test_steps_outside_the_interval_run_half_the_batch_and_fill_one_half(bundle_copy):
    write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, guidance_interval=(0.3, 8.0))
    api = make_api()
    with Pipeline(job, "cyt_mast", TensorRTBackend(job, api)) as pipeline:
        pipeline.generate_latents(SEEDS)
    scales = job.scales
    assert {1.0, 2.0} == set(scales)
    expected = []
    for i, scale in enumerate(scales):
        expected.append(("unet.cyt_mast.onnx", 2 if scale == 1 else 4))
        halves = 2 if i + 1 < len(scales) and scales[i + 1] != 1 else 1
        expected += [("step.onnx", 2)] * halves
    assert api.cudart.log == expected


def test_nothing_stays_on_the_device_and_a_plan_is_read_once(bundle_copy):
    write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, guidance_interval=(0.3, 8.0))
    api = make_api()
    read, deserialize = [], api.trt.Runtime(None).deserialize_cuda_engine
    api.trt.Runtime = lambda logger: SimpleNamespace(
        deserialize_cuda_engine=lambda plan: read.append(plan) or deserialize(plan)
    )
    with Pipeline(job, "cyt_mast", TensorRTBackend(job, api)) as pipeline:
        for _ in range(2):
            pipeline.decode(pipeline.generate_latents(SEEDS), SEEDS)
        assert api.cudart.replays == 1
    del pipeline
    gc.collect()
    assert (len(api.cudart.memory), api.cudart.live) == (0, 0)
    # Guided and unguided steps are two contexts of one engine.
    assert sorted(Path(plan.decode()).name for plan in read) == ["step.onnx", "unet.cyt_mast.onnx", "vae_decoder.onnx"]


def test_a_damaged_plan_costs_no_picture_of_the_run_that_is_replaced(bundle_copy, tmp_path, monkeypatch):
    target = write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, batch_size=2)
    run.generate(job, Output(tmp_path / "out"), backend=TensorRTBackend(job, make_api()))
    before = contents(tmp_path / "out")
    (target / "unet.cyt_mast.onnx.plan").write_bytes(b"garbage")
    monkeypatch.setattr("engine.backends.tensorrt.installed_api", lambda bundle: make_api())
    with pytest.raises(RequestError, match="SHA-256"):
        run.generate(job.changed(seed=9), Output(tmp_path / "out", overwrite=True))
    assert contents(tmp_path / "out") == before


def test_latents_that_a_gpu_cannot_address_are_refused_before_the_folder_is_touched(bundle_copy, tmp_path):
    write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle)
    backend = TensorRTBackend(job, make_api())
    backend.device.alignment_bytes = 4096
    with pytest.raises(RequestError, match="multiple of 4096"):
        run.generate(job, Output(tmp_path / "out"), backend=backend)
    assert not (tmp_path / "out").exists()


def test_a_broken_flavour_gives_way_to_the_other(monkeypatch, tiny_bundle):
    def load(flavour):
        if flavour == "tensorrt":
            raise OSError("libnvinfer.so: cannot open shared object file")
        return make_api(flavour)

    monkeypatch.setattr(tensorrt, "load_api", load)
    assert tensorrt.installed_api(open_bundle(str(tiny_bundle))).flavour == "rtx"
    monkeypatch.setattr(tensorrt, "load_api", lambda flavour: load("tensorrt"))
    with pytest.raises(RequestError, match="libnvinfer"):
        tensorrt.installed_api(open_bundle(str(tiny_bundle)))


def test_a_plan_of_other_types_is_refused(bundle_copy, monkeypatch):
    """The runner would misread its buffers."""
    write_plans(bundle_copy)
    api = make_api()
    api.trt.nptype = lambda kind: np.float16
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle)
    with pytest.raises(CytosynthError, match="float16"):
        Pipeline(job, "cyt_mast", TensorRTBackend(job, api))


def test_a_shape_that_the_plan_itself_refuses_is_an_error(bundle_copy):
    """plan.json states batch sizes that the plan does not support."""
    write_plans(bundle_copy, batch_sizes=[1, 64])
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, batch_size=9)
    with pytest.raises(CytosynthError, match="--batch-size"):
        Pipeline(job, "cyt_mast", TensorRTBackend(job, make_api()))


def test_a_free_prompt_needs_no_plan(bundle_copy):
    write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, prompt="cyt nep mast")
    with Pipeline(job, "cyt_mast", TensorRTBackend(job, make_api())) as pipeline:
        assert np.isfinite(pipeline.generate_latents(SEEDS)).all()


def test_a_cuda_error_is_named(bundle_copy):
    write_plans(bundle_copy)
    api = make_api()
    api.cudart.cudaMalloc = lambda size: (2, None)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle)
    with pytest.raises(CytosynthError, match="cudaMalloc"):
        Pipeline(job, "cyt_mast", TensorRTBackend(job, api))
