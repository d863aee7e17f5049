"""The TensorRT runner, with ONNX Runtime executing the same graphs in TensorRT's place: what is bound, in which order,
with which batch, and what is refused."""

from __future__ import annotations

import gc
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engine.backends import tensorrt
from engine.backends.onnxruntime import ORTBackend
from engine.backends.tensorrt import TensorRTBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.plans import graph_digest
from engine.bundle.settings import settings_of
from engine.errors import CytosynthError, RequestError
from engine.measure.batch_size import measure_batch_size
from engine.output.formats import Output
from engine.pipeline.pipeline import Pipeline
from engine.runs import generate as run
from tests.engine.backends.fake_tensorrt import make_api
from tests.engine.folders import contents

SEEDS = [1, 2]


def write_plans(folder, **changes):
    """A plan folder as the exporter writes it, its plans naming their graphs; `changes` go into plan.json."""
    bundle = open_bundle(str(folder))
    manifest = bundle.manifest
    graphs = {manifest.decoder[0]: manifest.decoder, manifest.step: (manifest.step,)}
    graphs |= {entry.unet: (entry.unet, *entry.weights) for entry in manifest.classes.values()}
    target = folder / "plans/sm86-rtx-1.7.1-b8"
    target.mkdir(parents=True)
    plans = {}
    for graph, files in graphs.items():
        content = str(folder / graph).encode()
        name = f"{graph}.plan"
        (target / name).write_bytes(content)
        plans[graph] = {
            "file": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "graph_sha256": graph_digest(bundle, files),
        }
    record = {
        "format_version": 1,
        "flavour": "rtx",
        "version": "1.7.1",
        "compute_capability": "8.6",
        "batch_sizes": [1, 8],
        "width": 32,
        "height": 32,
        "plans": plans,
    }
    (target / "plan.json").write_text(json.dumps({**record, **changes}))
    return target


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def job_of(bundle, **options):
    options = {"batch_size": 2, "num_inference_steps": 5, **options}
    return make_job(bundle, ["cyt_mast"], 2, settings_of(backend="tensorrt", **options))


def open_backend(folder, class_name="cyt_mast"):
    bundle = open_bundle(str(folder))
    job = make_job(bundle, [class_name], 2, settings_of(batch_size=2, backend="tensorrt"))
    return TensorRTBackend(job, make_api())


@pytest.mark.parametrize("flavour", ["rtx", "tensorrt"])
@pytest.mark.parametrize("options", [{}, {"guidance_interval": (0.3, 8.0)}, {"sampler": "euler_a"}])
def test_the_runner_makes_the_pictures_of_the_other_backends(flavour, options, bundle_copy):
    write_plans(bundle_copy, flavour=flavour)
    bundle = open_bundle(str(bundle_copy))
    job = job_of(bundle, **options)
    api = make_api(flavour)
    with Pipeline(job, "cyt_mast", ORTBackend()) as pipeline:
        wanted = pipeline.generate_latents(SEEDS)
        pictures, _ = pipeline.decode(wanted)
    with Pipeline(job, "cyt_mast", TensorRTBackend(job, api)) as pipeline:
        # The first run is plain, the later ones replay a graph where no noise comes from the host.
        for _ in range(3):
            np.testing.assert_allclose(pipeline.generate_latents(SEEDS), wanted, rtol=0, atol=1e-5)
        other = pipeline.generate_latents([8, 9])
        found, finite = pipeline.decode(wanted)
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
            pipeline.decode(pipeline.generate_latents(SEEDS))
        assert api.cudart.replays == 1
    del pipeline
    gc.collect()
    assert (len(api.cudart.memory), api.cudart.live) == (0, 0)
    # Guided and unguided steps are two contexts of one engine.
    assert sorted(Path(plan.decode()).name for plan in read) == ["step.onnx", "unet.cyt_mast.onnx", "vae_decoder.onnx"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": "1.6.0"}, "version 1.6.0, here 1.7.1"),
        ({"compute_capability": "8.9"}, "compute_capability 8.9, here 8.6"),
        ({"flavour": "tensorrt"}, "flavour tensorrt, here rtx"),
        ({"plans": {}}, "no plan for unet.cyt_mast.onnx"),
    ],
)
def test_a_plan_with_another_key_is_refused_with_the_command_that_builds_it(changes, word, bundle_copy):
    write_plans(bundle_copy, **changes)
    with pytest.raises(RequestError, match=r"exporter tensorrt .* --gpu sm86 --flavour rtx") as caught:
        open_backend(bundle_copy)
    assert word in str(caught.value)


def test_plans_of_a_class_that_was_exported_again_are_refused(bundle_copy):
    write_plans(bundle_copy)
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"]["unet.cyt_mast.bin"]["sha256"] = "0" * 64
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RequestError, match=r"unet\.cyt_mast\.onnx has changed since"):
        open_backend(bundle_copy)
    open_backend(bundle_copy, "cyt_nep_mast")


def test_no_plans_at_all_say_how_to_build_them(tiny_bundle):
    with pytest.raises(RequestError, match="found:    none"):
        open_backend(tiny_bundle)


def test_a_damaged_plan_is_refused_before_tensorrt_reads_it(bundle_copy):
    target = write_plans(bundle_copy)
    (target / "unet.cyt_mast.onnx.plan").write_bytes(b"garbage")
    bundle = open_bundle(str(bundle_copy))
    with pytest.raises(RequestError, match="SHA-256"):
        Pipeline(job_of(bundle), "cyt_mast", open_backend(bundle_copy))


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


def test_a_measured_batch_size_is_one_that_the_plans_take(bundle_copy, monkeypatch):
    write_plans(bundle_copy, batch_sizes=[1, 2])
    bundle = open_bundle(str(bundle_copy))
    monkeypatch.setattr("engine.backends.tensorrt.installed_api", lambda bundle: make_api())
    assert measure_batch_size(job_of(bundle, num_inference_steps=1))[0] in (1, 2)


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


@pytest.mark.parametrize("sizes", [[], [0], [1e999], [True], ["8"], 3])
def test_batch_sizes_that_are_none_are_refused(sizes, bundle_copy):
    write_plans(bundle_copy, batch_sizes=sizes)
    with pytest.raises(RequestError, match=r"plan\.json"):
        open_backend(bundle_copy)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"plans": {"a": {"file": "../x", "sha256": "0", "bytes": 1, "graph_sha256": "0"}}}', "{}"]
)
def test_a_plan_json_that_is_none_is_refused(text, bundle_copy):
    (write_plans(bundle_copy) / "plan.json").write_text(text)
    with pytest.raises(RequestError, match=r"plan\.json"):
        open_backend(bundle_copy)


@pytest.mark.parametrize(
    ("options", "word"), [({"batch_size": 9}, "batch sizes 1, 8, requested 9"), ({"width": 64}, "requested (64, 32)")]
)
def test_a_batch_or_size_that_the_plan_was_not_built_for_is_refused(options, word, bundle_copy):
    write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    with pytest.raises(RequestError, match="--batch") as caught:
        TensorRTBackend(job_of(bundle, **options), make_api())
    assert word in str(caught.value)


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
