"""The exporter writes merged UNets as a bundle of ONNX graphs, and builds TensorRT plans. It needs torch and onnx."""
