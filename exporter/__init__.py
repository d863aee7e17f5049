"""A merged UNet in, a bundle of ONNX graphs out (torch, onnx)."""
