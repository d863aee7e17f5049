"""Measure two stages for the small base: the export of a class, and the build of its plan for the RTX A6000.

python -m benchmarks.scripts.small_base RECORD.json MERGED        (MERGED: a merged folder of the small base)
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.arguments import existing_folder, new_file, script_parser
from benchmarks.scripts.full_size import measure
from engine.machine import processor_name
from engine.version import __version__


def main() -> None:
    """Run both stages, each in its own process, and write the record."""
    parser = script_parser("benchmarks.scripts.small_base", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("merged", metavar="MERGED", type=existing_folder)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        stages = {
            "onnx": measure("exporter", "onnx", asked.merged, "--out", bundle),
            "tensorrt": measure("exporter", "tensorrt", bundle, "--gpu", "a6000", "--batch", "1,8,16"),
        }
    total = round(sum(stage["seconds"] for stage in stages.values()), 1)
    found = {"processor": processor_name(), "cytosynth": __version__, "stages": stages, "total_seconds": total}
    asked.record.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
