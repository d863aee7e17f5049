"""Fixtures that build and run cpp_bench: as it is, and for `make soak` with AddressSanitizer and UBSan."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from engine.bundle.folder import EMBEDDED, open_bundle
from engine.bundle.plans import graph_digest, wanted_graphs
from engine.measure.reference import reference_jobs, write_reference
from tests.conftest import ROOT

BUILD = ROOT / "cpp_bench/build"
# The sources of a target are compiled as one: a third of the time.
OPTIONS = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0"]
KINDS = {"plain": ["-DCMAKE_CXX_FLAGS_DEBUG=-O0"], "sanitized": ["-DCYTO_SANITIZE=ON"]}
CELLS = EMBEDDED / "cells"
STEPS = 3


@pytest.fixture(scope="session", params=["plain", pytest.param("sanitized", marks=pytest.mark.soak)])
def built(request):
    """Build the program and return the build folder. Skip if a tool is missing, with its name as the reason."""
    build = BUILD / request.param
    if not all(map(shutil.which, ("cmake", os.environ.get("CXX", "c++")))):
        pytest.skip("no cmake or no C++ compiler: apt install cmake g++")
    openvino = importlib.util.find_spec("openvino").submodule_search_locations[0]
    options = [f"-DOpenVINO_DIR={openvino}/cmake", *OPTIONS, *KINDS[request.param]]
    configure = ["cmake", "-S", ROOT / "cpp_bench", "-B", build, "--log-level=NOTICE", *options]
    done = subprocess.run(configure, capture_output=True, text=True)
    if missing := re.search(r".*was not found: apt install.*", done.stderr):
        pytest.skip(missing[0].strip())
    assert done.returncode == 0, done.stderr
    assert re.search(r"^OpenVINO .*: built in$", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^TensorRT: left out; .*TENSORRT_ROOT=", done.stderr, re.MULTILINE), done.stderr
    done = subprocess.run(["cmake", "--build", build], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return build


@pytest.fixture(scope="session")
def class_name():
    return next(iter(open_bundle(str(CELLS)).manifest.classes))


def reference_of(folder, class_name, bundle=CELLS, **settings):
    opened = open_bundle(str(bundle))
    settings = {"backend": "openvino", "num_inference_steps": STEPS, **settings}
    (job,) = reference_jobs(opened, [class_name], **settings)
    path = folder / "reference.safetensors"
    write_reference(job, path)
    return path


def altered(path, target, change_tensors=lambda tensors: None, **metadata):
    """A copy of a reference that differs."""
    with safe_open(path, "numpy") as file:
        tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change_tensors(tensors)
    save_file(tensors, target, {**facts, **metadata})
    return target


def with_plans(bundle, class_name, largest, preset=None):
    """Plans for the stand-in of TensorRT: each is the path of its graph."""
    opened = open_bundle(str(bundle))
    width, height = opened.manifest.picture_size
    folder = bundle / "plans/stand-in"
    folder.mkdir(parents=True)
    plans = {}
    for graph, files in wanted_graphs(opened, [class_name], encoder=False, preset=preset).items():
        content = str(opened.path(graph)).encode()
        (folder / f"{graph}.plan").write_bytes(content)
        plans[graph] = {
            "file": f"{graph}.plan",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "graph_sha256": graph_digest(opened, files),
        }
    gpu = {"flavour": "tensorrt", "version": "10.0.0.1", "compute_capability": "8.6"}
    size = {"batch_sizes": [1, largest], "width": width, "height": height}
    (folder / "plan.json").write_text(json.dumps({"format_version": 1, **gpu, **size, "plans": plans}))
    return folder


@pytest.fixture(scope="session")
def reference(tmp_path_factory, class_name):
    return reference_of(tmp_path_factory.mktemp("reference"), class_name)


@pytest.fixture
def bench(built, class_name, tmp_path):
    """Run cyto_bench; a leak, an overflow or undefined behaviour ends it with another exit code."""

    def run(*arguments, bundle=CELLS, program="cyto_bench", of=class_name):
        command = [built / program, "--bundle", bundle, "--class", of, *map(str, arguments)]
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            # TBB opens its libraries in a way that AddressSanitizer refuses, unless it is told.
            "TBB_ENABLE_SANITIZERS": "1",
            # OpenVINO allocates so often that remembering stacks takes a fifth of the time.
            "ASAN_OPTIONS": "malloc_context_size=1",
            "LSAN_OPTIONS": f"suppressions={ROOT / 'cpp_bench/tests/leaks.supp'}:print_suppressions=0",
        }
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)

    return run
