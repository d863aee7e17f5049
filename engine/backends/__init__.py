"""Inference runtimes: one small class per runtime."""

import sys

# OpenVINO's package reports its import to Google Analytics through this module. Without the module nothing is sent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
