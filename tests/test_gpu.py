"""What only a machine with an NVIDIA GPU can show: ONNX Runtime's CUDA, TensorRT's runner on real plans, refitting,
training a base.

`make gpu-tests` runs these; elsewhere they are skipped.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from engine.backends.openvino import OpenVINOBackend
from engine.backends.select import PROBES
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.pipeline.pipeline import Pipeline
from tests.conftest import ROOT

pytestmark = pytest.mark.gpu
CELLS = ROOT / "engine/bundles/cells"
SEEDS = list(range(8))
NEEDS_CUDA = "needs an NVIDIA GPU and ONNX Runtime with CUDA: pip install 'cytosynth[cuda]'"
NEEDS_TORCH = "needs an NVIDIA GPU and PyTorch with CUDA: pip install torch, from the index of your CUDA version"


@pytest.fixture(scope="module")
def wanted():
    """Latents and pictures of eight seeds on the CPU in float32."""
    bundle = open_bundle(str(CELLS))
    job = make_job(bundle, ["cyt_mast"], 8, settings_of(batch_size=8, backend="openvino"))
    with Pipeline(job, "cyt_mast", OpenVINOBackend(precision="f32")) as pipeline:
        latents = pipeline.generate_latents(SEEDS)
        return latents, pipeline.decode(latents, SEEDS)[0]


def close(found, wanted):
    latents, pictures = found
    assert np.linalg.norm(latents - wanted[0]) < 0.05 * np.linalg.norm(wanted[0])
    mse = np.mean((pictures.astype(float) - wanted[1].astype(float)) ** 2)
    assert 10 * np.log10(255**2 / mse) > 35


def draw(job, backend):
    with Pipeline(job, "cyt_mast", backend) as pipeline:
        # A plain run, one that is captured or replayed, and a decode.
        pipeline.generate_latents(SEEDS)
        latents = pipeline.generate_latents(SEEDS)
        return latents, pipeline.decode(latents, SEEDS)[0]


@pytest.mark.slow
def test_onnxruntime_on_cuda_draws_the_same_pictures(wanted):
    ort = pytest.importorskip("onnxruntime", reason=NEEDS_CUDA)
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip(NEEDS_CUDA)
    from engine.backends.onnxruntime import ORTBackend

    bundle = open_bundle(str(CELLS))
    job = make_job(bundle, ["cyt_mast"], 8, settings_of(batch_size=8, backend="onnxruntime"))
    close(draw(job, ORTBackend()), wanted)


@pytest.fixture(scope="module")
def plans(command, tmp_path_factory):
    """The embedded bundle with plans for this GPU, by whichever flavour builds for it."""
    status = PROBES["tensorrt"]()
    if not status.usable:
        pytest.skip(f"needs an NVIDIA GPU and TensorRT ({status.detail}): {status.install}")
    from engine.backends.tensorrt import installed_api

    folder = shutil.copytree(CELLS, tmp_path_factory.mktemp("gpu") / "cells")
    gpu = f"sm{installed_api(open_bundle(str(folder))).compute_capability().replace('.', '')}"
    for flavour in ("rtx", "tensorrt"):
        build = ["tensorrt", folder, "--gpu", gpu, "--flavour", flavour, "--batch", "1,8"]
        done = command("exporter", *build, "--class", "cyt_mast", timeout=900)
        if done.returncode == 0:
            return folder
    return pytest.skip(f"no plan for {gpu}: {done.stderr}")


@pytest.mark.parametrize("options", [{}, {"guidance_interval": (0.3, 8.0)}, {"sampler": "euler_a"}])
def test_tensorrt_draws_the_same_pictures(options, plans):
    from engine.backends.tensorrt import TensorRTBackend, installed_api

    bundle = open_bundle(str(plans))
    job = make_job(
        bundle, ["cyt_mast"], 8, settings_of(batch_size=8, backend="tensorrt", guidance_scale=2.0, **options)
    )
    with Pipeline(job, "cyt_mast", OpenVINOBackend(precision="f32")) as pipeline:
        latents = pipeline.generate_latents(SEEDS)
        reference = latents, pipeline.decode(latents, SEEDS)[0]
    close(draw(job, TensorRTBackend(job, installed_api(bundle))), reference)


def test_refitting_to_another_class_and_back_leaves_no_residue(command, plans):
    """A -> B -> A: the whole set of weights is sent every time."""
    from engine.backends.tensorrt import installed_api

    api = installed_api(open_bundle(str(plans)))
    gpu = f"sm{api.compute_capability().replace('.', '')}"
    build = ["tensorrt", plans, "--gpu", gpu, "--flavour", api.flavour, "--batch", "8", "--refit"]
    done = command("exporter", *build, "--class", "cyt_mast", timeout=900)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in (plans / "plans").iterdir() if path.name.endswith("-refit"))
    trt, logger = api.trt, api.trt.Logger(api.trt.Logger.WARNING)
    engine = trt.Runtime(logger).deserialize_cuda_engine((folder / "unet.cyt_mast.onnx.plan").read_bytes())

    def weights_after(name):
        refitter = trt.Refitter(engine, logger)
        parser = trt.OnnxParserRefitter(refitter, logger)
        assert parser.refit_from_file(str(plans / f"unet.{name}.onnx"))
        assert refitter.refit_cuda_engine()
        return run(api, engine)

    first, other, again = (weights_after(name) for name in ("cyt_mast", "cyt_nep_mast", "cyt_mast"))
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_array_equal(first, again)


def test_a_base_is_trained_on_the_gpu(request, in_process, tmp_path):
    """The UNet's step runs as a CUDA graph, and its noise is drawn on the GPU.

    The checkpoint's state alone decides which noise is drawn.
    """
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    if not torch.cuda.is_available():
        pytest.skip(NEEDS_TORCH)
    data = request.getfixturevalue("whole_path") / "prepared"
    words = ["--preset", "tiny", "--compile", "--vae-steps", 20, "--unet-steps", 60, "--decoder-steps", 5]
    done = in_process("trainer", "pretrain", data, "--out", tmp_path / "base", *words)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "base/record.json").read_text())
    assert record["compute"]["device"].startswith("cuda")
    assert record["unet"]["loss_last"] < record["unet"]["loss_first"]


def run(api, engine):
    """One evaluation at batch 16 on fixed inputs."""
    from engine.backends.tensorrt import CudaBuffer

    stream = api.cuda("cudaStreamCreate")
    context = engine.create_execution_context()
    rng = np.random.default_rng(0)
    shapes = {"latents": (16, 16, 16, 16), "time_features": (16, 96), "encoder_hidden_states": (16, 16, 64)}
    buffers = {name: CudaBuffer(api, stream, shape, np.dtype(np.float32)) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        buffers[name].write(rng.standard_normal(shape).astype(np.float32))
        context.set_input_shape(name, shape)
    buffers["eps"] = CudaBuffer(api, stream, shapes["latents"], np.dtype(np.float32))
    for name, buffer in buffers.items():
        context.set_tensor_address(name, buffer.pointer)
    assert context.execute_async_v3(stream)
    return buffers["eps"].read()
