"""The small base on this machine: a class exported, and its plan for the RTX A6000 built.

python -m benchmarks.scripts.small_base RECORD.json MERGED        (a merged folder of the small base)
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.scripts.full_size import measure
from engine.machine import processor_name
from engine.output.provenance import own_version


def main() -> None:
    """Both stages, in processes of their own."""
    record, merged = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        stages = {
            "onnx": measure("exporter", "onnx", merged, "--out", bundle),
            "tensorrt": measure("exporter", "tensorrt", bundle, "--gpu", "a6000", "--batch", "1,8,16"),
        }
    total = round(sum(stage["seconds"] for stage in stages.values()), 1)
    found = {"processor": processor_name(), "cytosynth": own_version(), "stages": stages, "total_seconds": total}
    record.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
