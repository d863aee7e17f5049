"""The bundle: manifest, folder, TensorRT plans, and the requests and jobs that are checked against a bundle."""

from engine.bundle.folder import EMBEDDED, Bundle, open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.request import GenerateRequest, make_request
from engine.bundle.settings import AUTO, EVERYWHERE, RequestSettings, settings_of

__all__ = [
    "AUTO",
    "EMBEDDED",
    "EVERYWHERE",
    "Bundle",
    "GenerateRequest",
    "Job",
    "RequestSettings",
    "make_job",
    "make_request",
    "open_bundle",
    "settings_of",
]
