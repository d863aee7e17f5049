import numpy as np
import pytest

from engine.bundle import make_job, open_bundle, settings_of
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline
from engine.serve.models import Models, equal_settings


def job_of(bundle, **options):
    settings = {"num_inference_steps": 2, "batch_size": 1, "backend": "openvino", "precision": "f32", **options}
    return make_job(open_bundle(str(bundle)), ["cyt_mast"], 1, settings_of(**settings))


def test_jobs_that_differ_in_seed_and_number_alone_share_a_pipeline(tiny_bundle):
    first = job_of(tiny_bundle, seed=1)
    assert equal_settings(first) == equal_settings(job_of(tiny_bundle, seed=2))
    assert equal_settings(first) != equal_settings(job_of(tiny_bundle, guidance_scale=3.0))


def test_only_the_latest_models_stay_open(tiny_bundle):
    models, jobs = Models(2), [job_of(tiny_bundle, guidance_scale=scale) for scale in (2.0, 3.0, 4.0)]
    opened = []
    for job in [*jobs, jobs[2], jobs[0]]:
        with models.pipeline(job) as pipeline:
            opened.append(pipeline)
    assert opened[2] is opened[3], "the latest pipeline is kept"
    assert opened[0] is not opened[4], "the oldest one was closed"
    with models.pipeline(jobs[2]) as pipeline:
        assert np.isfinite(pipeline.generate_latents([1])).all(), "graphs that others closed stay open"
    models.close()


def test_the_backend_of_a_job_shares_the_graphs_of_the_pipelines(tiny_bundle):
    models, job = Models(2), job_of(tiny_bundle)
    with models.pipeline(job):
        pass
    backend = models.backend(job_of(tiny_bundle, seed=5))
    opened = backend._models.copy()
    with Pipeline(job, "cyt_mast", backend) as pipeline:
        assert np.isfinite(pipeline.generate_latents([1])).all()
    assert backend._models.keys() == opened.keys()
    models.close()


def test_a_changed_file_of_the_bundle_is_refused(bundle_copy):
    job = job_of(bundle_copy)
    file = bundle_copy / "unet.cyt_mast.bin"
    file.write_bytes(bytes(file.stat().st_size))
    models = Models(1)
    with pytest.raises(RequestError, match="SHA-256"), models.pipeline(job):
        pass
    models.close()
