"""What the comparison on a GPU measures, and how long it may take. Nothing large is imported here, so that a machine
without a GPU is told at once."""

from __future__ import annotations

__all__ = ["BATCHES", "CAP_S", "MINUTES", "REHEARSED_BATCHES", "ROUNDS", "SYSTEMS"]

BATCHES = (1, 8, 16)
REHEARSED_BATCHES = (1, 2)
"""Two sizes, so that a rehearsal runs what only profiles of several batch sizes run."""
ROUNDS = 5
CAP_S = 20.0
MINUTES = 11.0
"""Time limit. The last systems may take half a minute longer."""
SYSTEMS = {
    "diffusers float16": 10,
    "diffusers float16 compiled": 100,
    "onnxruntime CUDA": 30,
    "onnxruntime TensorrtExecutionProvider": 200,
    "onnxruntime NvTensorRTRTXExecutionProvider": 100,
    "TensorRT plan": 30,
}
"""The systems, and the seconds that opening one may take. A system is left out if less time is left."""
