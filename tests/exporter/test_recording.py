"""A recorder keeps the inputs and outputs of the UNet, and of no other graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exporter.recording import Recorder, recorder_of


def double(path, inputs, outputs):
    """A backend's function: every output is twice the latents."""
    return lambda arrays: dict.fromkeys(outputs, 2 * arrays["latents"])


def test_only_calls_of_the_unet_are_recorded():
    recorder = Recorder(double)
    unet = recorder.open(Path("unet.onnx"), {"latents": (2, 1)}, ("eps",))
    decoder = recorder.open(Path("vae.onnx"), {"latents": (1, 1)}, ("images", "finite"))
    latents = np.ones((2, 1))
    np.testing.assert_array_equal(unet.run({"latents": latents})["eps"], 2 * latents)
    decoder.run({"latents": latents[:1]})
    np.testing.assert_array_equal(recorder.eps({"latents": 3 * latents}), 6 * latents)
    ((inputs, outputs),) = recorder.calls
    assert inputs["latents"] is latents
    np.testing.assert_array_equal(outputs["eps"], 2 * latents)


def test_a_recorder_around_a_backend_keeps_its_arithmetic():
    recorder = recorder_of(Recorder(double, "bfloat16"))
    assert recorder.arithmetic == "bfloat16"
    model = recorder.open(Path("unet.onnx"), {"latents": (1, 1)}, ("eps",))
    assert model.run({"latents": np.ones((1, 1))})["eps"].tolist() == [[2]]
