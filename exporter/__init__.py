"""The exporter writes merged UNets as a bundle of ONNX graphs, and builds TensorRT plans. It needs torch and onnx."""

import engine.privacy  # noqa: F401  (before any library that could report its use)
