"""The plot of drift is a PNG, with layers that overflow and layers without an error left out."""

from __future__ import annotations

from PIL import Image

from exporter.inspection.drift import Drift, LayerDrift
from exporter.inspection.drift_plot import plot_drift


def layer(name, error, share):
    return LayerDrift(name, "Conv", "float16", "conv_in", error, error, 1.0, (error,), share)


def test_a_plot_is_written(tmp_path):
    layers = (layer("a", 0.0, 0.0), layer("b", 1e-3, 1.0), layer("c", float("inf"), 0.0))
    plot_drift(Drift("unet.onnx", "float16", 1, layers, ()), tmp_path / "drift.png")
    with Image.open(tmp_path / "drift.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert len(picture.convert("L").getcolors(256)) > 10
