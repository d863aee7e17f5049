"""The choice of a backend from what is usable on a machine, and the reason that is given."""

from __future__ import annotations

import pytest

from engine.backends import select
from engine.backends.select import Status, choose_backend
from engine.errors import RequestError


@pytest.fixture
def machine(monkeypatch):
    """Set the runtimes of the machine."""

    def has(*usable, on_gpu=()):
        def probe(name, rank):
            detail = "1.0" if name in usable else "not installed"
            return lambda: Status(name, name in usable, detail, f"pip install {name}", rank, name in on_gpu)

        names = ("onnxruntime", "openvino", "tensorrt")
        monkeypatch.setattr(select, "PROBES", {name: probe(name, rank) for rank, name in enumerate(names, 1)})

    return has


def test_auto_takes_the_fastest_usable_runtime_and_says_why(machine):
    machine("openvino", "onnxruntime")
    assert choose_backend("auto") == ("openvino", "openvino 1.0, the fastest of openvino, onnxruntime")
    machine("onnxruntime")
    assert choose_backend("auto") == ("onnxruntime", "onnxruntime 1.0, the only usable backend")


def test_a_request_for_float32_takes_openvino_and_says_so(machine):
    machine("openvino", "onnxruntime")
    assert choose_backend("auto", "f32") == ("openvino", "openvino 1.0, in float32 as requested")
    assert choose_backend("onnxruntime") == ("onnxruntime", "onnxruntime 1.0, as requested")


def test_tensorrt_is_chosen_only_for_a_bundle_with_plans(machine):
    machine("openvino", "tensorrt", on_gpu=("tensorrt",))
    assert choose_backend("auto")[0] == "openvino"
    assert choose_backend("tensorrt")[0] == "tensorrt"


@pytest.mark.parametrize(
    ("name", "precision", "words"),
    [
        ("cudnn", "auto", "one of auto, openvino"),
        ("onnxruntime", "f32", "computes in float16"),
        ("tensorrt", "auto", "not installed"),
        ("onnxruntime", "int8", "is for the CPU"),
    ],
)
def test_a_runtime_that_cannot_compute_the_request_is_refused(machine, name, precision, words):
    machine("openvino", "onnxruntime", on_gpu=("onnxruntime",))
    with pytest.raises(RequestError, match=words):
        choose_backend(name, precision)


def test_without_any_runtime_the_error_lists_all_reasons(machine):
    machine()
    with pytest.raises(RequestError, match="onnxruntime: not installed; openvino: not installed"):
        choose_backend("auto")
