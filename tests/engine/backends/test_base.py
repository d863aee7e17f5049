"""What every runtime checks before it runs a graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.backends.base import check_signature, runtime_error
from engine.errors import CytosynthError

DECODER = {"images": "uint8", "finite": "bool"}


def test_a_graph_with_the_expected_names_and_types_passes():
    check_signature(Path("vae_decoder.onnx"), "outputs", DECODER, ("finite", "images"))
    check_signature(Path("vae_decoder.onnx"), "inputs", {"latents": "float32"}, ("latents",))


@pytest.mark.parametrize(
    "found", [{}, {"images": "uint8"}, {**DECODER, "more": "float32"}, {**DECODER, "images": "float32"}]
)
def test_a_graph_of_another_contract_is_named(found):
    with pytest.raises(CytosynthError, match=r"outputs of the graph vae_decoder\.onnx") as caught:
        check_signature(Path("vae_decoder.onnx"), "outputs", found, DECODER)
    assert caught.value.expected == "finite bool, images uint8"


def test_an_exception_of_a_runtime_becomes_one_line_with_the_graph():
    error = runtime_error("onnxruntime 1.2", Path("unet.onnx"), ValueError("out of memory\nat line 3"))
    assert (error.subject, error.found) == ("onnxruntime 1.2 with the graph unet.onnx", "out of memory")
