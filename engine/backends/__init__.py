"""Inference runtimes behind one small class each."""

import sys

# OpenVINO's package reports its import to Google Analytics by this module; without it, nothing is sent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
