"""Plan folders of TensorRT as the exporter writes them, and the runner that takes them."""

from __future__ import annotations

import hashlib
import json

from engine.backends.tensorrt import TensorRTBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.plans import graph_digest
from engine.bundle.settings import settings_of
from tests.engine.backends.fake_tensorrt import make_api


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


def job_of(bundle, **options):
    options = {"batch_size": 2, "num_inference_steps": 5, **options}
    return make_job(bundle, ["cyt_mast"], 2, settings_of(backend="tensorrt", **options))


def open_backend(folder, class_name="cyt_mast"):
    bundle = open_bundle(str(folder))
    job = make_job(bundle, [class_name], 2, settings_of(batch_size=2, backend="tensorrt"))
    return TensorRTBackend(job, make_api())
