"""TensorRT plans of a bundle: built, listed, checked and removed."""
