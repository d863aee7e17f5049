"""The bundle: manifest, folder, TensorRT plans, and requests checked against them."""
