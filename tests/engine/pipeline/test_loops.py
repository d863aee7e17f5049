"""The sampling loops: host and device give the same latents, also in half-batch steps, and both can be stopped."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.pipeline.loops import Stopped
from engine.pipeline.pipeline import Pipeline

SEEDS = [3, 4, 5]


def job_of(bundle, **options):
    return make_job(bundle, ["cyt_mast"], 3, settings_of(batch_size=3, backend="openvino", precision="f32", **options))


def latents_of(job, backend):
    with Pipeline(job, "cyt_mast", backend) as pipeline:
        first = pipeline.generate_latents(SEEDS)
        np.testing.assert_array_equal(first, pipeline.generate_latents(SEEDS))
        return first


CASES = {
    "default": {},
    "no guidance": {"guidance_scale": 1.0, "num_inference_steps": 6},
    "guidance on an interval": {"guidance_interval": (0.5, 5.0), "guidance_scale": 3.0, "num_inference_steps": 8},
    "ancestral": {"sampler": "euler_a", "num_inference_steps": 8},
    "ddim": {"sampler": "ddim", "num_inference_steps": 8},
    "ddpm, CUDA's noise": {"sampler": "ddpm", "rng": "nv", "num_inference_steps": 8},
    "langevin": {"sampler": "langevin", "num_inference_steps": 4, "langevin_steps_per_level": 2},
    "two points per step": {"sampler": "heun", "num_inference_steps": 3, "guidance_interval": (0.5, 5.0)},
    "kept slopes": {"sampler": "plms", "num_inference_steps": 5},
    "predictor and corrector": {"sampler": "unipc", "num_inference_steps": 5},
    "Brownian motion": {"sampler": "dpmpp_sde", "num_inference_steps": 3},
    "other size": {"width": 48, "height": 32, "num_inference_steps": 4},
    "one step": {"num_inference_steps": 1},
}


@pytest.mark.parametrize("case", CASES)
def test_a_device_that_keeps_the_latents_agrees_with_the_host(case, tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    job = job_of(bundle, **CASES[case])
    on_host = latents_of(job, OpenVINOBackend(precision="f32"))
    on_device = latents_of(job, ORTBackend())
    assert on_host.shape == (3, 4, job.request.height // 4, job.request.width // 4)
    difference = np.linalg.norm(on_device - on_host) / np.linalg.norm(on_host)
    assert difference < 5e-3


def test_an_interval_of_guidance_runs_half_the_batch_outside(tiny_bundle):
    """The interval changes the picture, compared with guidance everywhere and with no guidance."""
    bundle = open_bundle(str(tiny_bundle))
    part = job_of(bundle, guidance_interval=(0.5, 5.0), guidance_scale=6.0)
    plan, scales = part.plan, part.scales
    assert {scale for row, scale in zip(plan.rows, scales, strict=True) if 0.5 <= row.sigma <= 5} == {6.0}
    assert {scale for row, scale in zip(plan.rows, scales, strict=True) if not 0.5 <= row.sigma <= 5} == {1.0}
    sizes = []

    class Counting(OpenVINOBackend):
        def open(self, path, inputs, outputs):
            model = super().open(path, inputs, outputs)
            if outputs == ("eps",):
                run = model.run
                model.run = lambda arrays: (sizes.append(len(arrays["latents"])), run(arrays))[1]
            return model

    results = [
        latents_of(part.changed(guidance_interval=interval, guidance_scale=scale), Counting(precision="f32"))
        for interval, scale in ((part.request.guidance_interval, 6.0), (None, 6.0), (None, 1.0))
    ]
    assert sizes[:20] == [6 if scale != 1 else 3 for scale in scales]
    for other in results[1:]:
        assert np.abs(results[0] - other).max() > 1e-3


@pytest.mark.parametrize("backend", [OpenVINOBackend, ORTBackend])
@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a"])
def test_a_loop_stops_between_steps(backend, sampler, tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    stop = threading.Event()
    stop.set()
    with Pipeline(job_of(bundle, sampler=sampler), "cyt_mast", backend()) as pipeline:
        with pytest.raises(Stopped) as stopped:
            pipeline.generate_latents(SEEDS, stop)
        assert stopped.value.prediction is None
        assert np.isfinite(pipeline.generate_latents(SEEDS)).all()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_a"])
def test_host_and_device_show_the_same_prediction_to_those_who_watch_and_who_stop(sampler, tiny_bundle):
    job = job_of(open_bundle(str(tiny_bundle)), sampler=sampler, num_inference_steps=8)
    seen, ends = [], []
    for backend in (OpenVINOBackend(precision="f32"), ORTBackend()):
        stop, steps, found = threading.Event(), [], []

        def watch(step, prediction, stop=stop, steps=steps, found=found):
            steps.append(step)
            found.append(prediction().copy())
            if step == 5:
                stop.set()

        with Pipeline(job, "cyt_mast", backend) as pipeline:
            with pytest.raises(Stopped) as stopped:
                pipeline.generate_latents(SEEDS, stop, watch)
            whole = pipeline.generate_latents(SEEDS)
        assert steps == [1, 2, 3, 4, 5]
        assert np.linalg.norm(stopped.value.prediction - whole) < np.linalg.norm(found[0] - whole)
        seen.append(np.array(found))
        ends.append(stopped.value.prediction)
    for host, device in (seen, ends):
        assert np.linalg.norm(device - host) < 5e-3 * np.linalg.norm(host)


@pytest.mark.parametrize(
    ("batch_size", "precision", "tolerance", "sampler"),
    [
        (batch_size, precision, tolerance, "dpmpp_2m")
        for batch_size in (1, 2, 8)
        for precision, tolerance in (("f32", 1e-3), ("auto", 2e-2))
    ]
    + [(2, "f32", 1e-3, "dpmpp_sde")],
)
def test_any_batch_size_gives_the_same_picture(batch_size, precision, tolerance, sampler, tiny_bundle):
    """Latents agree within 0.1 % of their norm in float32, 2 % in bf16. Bytes are equal at equal batch sizes only.

    Samplers that add noise take the noise of each picture from its own generator.
    """
    bundle = open_bundle(str(tiny_bundle))
    backend = OpenVINOBackend(precision=precision)
    job = job_of(bundle, sampler=sampler, num_inference_steps=None if sampler == "dpmpp_2m" else 3)
    with Pipeline(job, "cyt_mast", backend) as pipeline:
        wanted = pipeline.generate_latents(SEEDS)
    seeds = [*SEEDS, *range(100, 108)][: -(-len(SEEDS) // batch_size) * batch_size]
    with Pipeline(job.changed(batch_size=batch_size), "cyt_mast", backend) as pipeline:
        chunks = [seeds[start : start + batch_size] for start in range(0, len(seeds), batch_size)]
        found = np.concatenate([pipeline.generate_latents(chunk) for chunk in chunks])[: len(SEEDS)]
    assert np.linalg.norm(found - wanted) < tolerance * np.linalg.norm(wanted)


@pytest.mark.parametrize("precision", ["auto", "f32"])
def test_no_runtime_rounds_a_fractional_timestep(precision, tiny_bundle, whole_path):
    """The UNet at every fractional timestep of the default table against torch in float32.

    bf16's own error is larger than what rounding a timestep to bf16 (961.73 to 960) does to this small UNet, so beside
    the limit the error is projected onto that change: about 0 where the timestep is whole, 1 where it was rounded. A
    second pass on rounded timesteps shows that the test would see it.
    """
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'cytosynth[trainer]'")
    from exporter.load import load_merged

    bundle = open_bundle(str(tiny_bundle))
    plan = job_of(bundle).plan
    unet = load_merged(whole_path / "merged/cyt_mast").unet
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((2, 4, 8, 8)).astype(np.float32)
    context = rng.standard_normal((2, *bundle.manifest.context_shape)).astype(np.float32)
    from engine.sampling.schedules import time_features

    shapes = {"latents": latents.shape, "time_features": (2, 16), "encoder_hidden_states": context.shape}
    model = OpenVINOBackend(precision=precision).open(bundle.path("unet.cyt_mast.onnx"), shapes, ("eps",))
    limit = 0.002 if precision == "f32" else 0.03
    assert len({row.timestep % 1 for row in plan.rows}) > 15

    def runtime(timestep):
        features = time_features(np.full(2, timestep), np.array(bundle.manifest.frequencies))
        return model.run({"latents": latents, "time_features": features, "encoder_hidden_states": context})["eps"]

    @torch.no_grad()
    def reference(timestep):
        return unet(torch.from_numpy(latents), torch.full((2,), timestep), torch.from_numpy(context)).sample.numpy()

    exact, rounded = [], []
    for row in plan.rows:
        wanted = reference(row.timestep)
        found = runtime(row.timestep)
        assert np.linalg.norm(found - wanted) < limit * np.linalg.norm(wanted), row.timestep
        coarse = torch.tensor(row.timestep, dtype=torch.bfloat16).item()
        change = reference(coarse) - wanted
        if abs(coarse - row.timestep) > 0.3:
            exact.append(np.vdot(found - wanted, change) / np.vdot(change, change))
            rounded.append(np.vdot(runtime(coarse) - wanted, change) / np.vdot(change, change))
    assert len(exact) > 5
    assert abs(np.median(exact)) < 0.25
    assert abs(np.median(rounded) - 1) < 0.25
