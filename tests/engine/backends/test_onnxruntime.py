"""ONNX Runtime: graphs on host memory and graphs whose tensors are bound by address."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends.onnxruntime import ORTBackend
from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError

LATENTS = {"latents": (2, 4, 8, 8)}


def test_it_decodes_one_picture_per_latent(tiny_bundle):
    model = ORTBackend().open(open_bundle(str(tiny_bundle)).path("vae_decoder.onnx"), LATENTS, ("images", "finite"))
    latents = np.random.default_rng(0).standard_normal(LATENTS["latents"]).astype(np.float32)
    latents[1] = np.nan
    found = model.run({"latents": latents})
    assert (found["images"].shape, found["images"].dtype) == ((2, 32, 32, 3), np.uint8)
    assert found["finite"].tolist() == [True, False]
    model.close()


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [({"x": (2, 4, 8, 8)}, ("images", "finite"), "inputs"), (LATENTS, ("eps",), "outputs")],
)
def test_a_graph_with_other_names_is_refused(inputs, outputs, words, tiny_bundle):
    with pytest.raises(CytosynthError, match=f"The {words} of the graph"):
        ORTBackend().open(tiny_bundle / "vae_decoder.onnx", inputs, outputs)


def test_a_file_that_is_no_graph_is_an_error_of_the_runtime(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"none")
    with pytest.raises(CytosynthError, match=r"onnxruntime .* with the graph .*x\.onnx"):
        ORTBackend().open(tmp_path / "x.onnx", LATENTS, ("images",))
