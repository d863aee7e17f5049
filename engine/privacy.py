"""Switches off the telemetry of every library that any part uses. Importing this module does it.

The package of every part imports this module first, because the libraries read their switches when they are imported.
Values that the user has set are replaced: pictures of patients may lie on this machine, so that nothing may leave it.
"""

from __future__ import annotations

import os
import sys

__all__ = ["SWITCHES", "switch_off_telemetry"]

SWITCHES = {
    # ONNX Runtime's builds for Linux and macOS keep a device id and send events. Its function
    # `disable_telemetry_events` comes too late for the first event.
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
    # huggingface_hub, hf_xet, transformers, diffusers and datasets.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    # transformers would ask a service of the hub to convert weights.
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    # Packages that others import if they are installed: accelerate imports wandb, for example.
    "WANDB_ERROR_REPORTING": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    # FastAPI would send what the routes do to a collector that other variables name.
    "FASTAPI_OTEL_AUTO_CONFIGURE": "false",
    # The common switch, see https://donottrack.sh.
    "DO_NOT_TRACK": "1",
}
"""Environment variables that switch off telemetry."""


def switch_off_telemetry() -> None:
    """Set the switches for this process and the processes that it starts."""
    os.environ.update(SWITCHES)
    # OpenVINO and NNCF report to Google Analytics through this module, which has no switch. Both work without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


switch_off_telemetry()
