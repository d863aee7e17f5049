"""GPU names and their compute capabilities."""

from __future__ import annotations

import re

from engine.errors import RequestError

__all__ = ["GPUS", "compute_capability"]

GPUS = {
    "t4": "7.5",
    "rtx2080": "7.5",
    "rtx2080ti": "7.5",
    "a100": "8.0",
    "a10": "8.6",
    "a40": "8.6",
    "a4000": "8.6",
    "a5000": "8.6",
    "a6000": "8.6",
    "rtx3060": "8.6",
    "rtx3080": "8.6",
    "rtx3090": "8.6",
    "l4": "8.9",
    "l40": "8.9",
    "l40s": "8.9",
    "rtx4080": "8.9",
    "rtx4090": "8.9",
    "rtx6000ada": "8.9",
    "h100": "9.0",
    "h200": "9.0",
    "rtx5080": "12.0",
    "rtx5090": "12.0",
    "rtxpro6000": "12.0",
}
"""Source: https://developer.nvidia.com/cuda-gpus"""


def compute_capability(gpu: str) -> str:
    """Return the compute capability of a GPU: "8.6" for "a6000", "RTX A6000" or "sm86". Raises RequestError for an
    unknown name."""
    plain = re.sub(r"nvidia|geforce|[\s_-]", "", gpu.lower())
    if match := re.fullmatch(r"sm(\d+)(\d)", plain):
        return f"{int(match[1])}.{match[2]}"
    found = GPUS.get(plain) or GPUS.get(plain.removeprefix("rtx"))
    if found is None:
        raise RequestError(
            "--gpu",
            found=gpu,
            expected=f"smXX, or one of {', '.join(GPUS)}",
            fix="name the compute capability, for example sm86 for 8.6",
        )
    return found
