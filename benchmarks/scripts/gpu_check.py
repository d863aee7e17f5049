"""Compare ONNX Runtime and TensorRT plans with diffusers on an NVIDIA GPU, at the shapes of Stable Diffusion 1.5.

    python -m benchmarks.scripts.gpu_check RECORD.json            (12 minutes, 16 GB of memory, 5 GB of disk)
    python -m benchmarks.scripts.gpu_check RECORD.json --rehearse (tiny models, batches of 1 and 2, on the processor)

The weights are random, because their values change no time. Two parts are timed: a guided step of the UNet for 1, 8 and
16 pictures, and a decoding. The systems are diffusers in float16, eager and compiled, ONNX Runtime with CUDA and with
its TensorRT providers, and plans of TensorRT for RTX or TensorRT. Each result is first compared with diffusers in
float32. The systems take turns in five rounds. A system is left out with a reason if its package is missing, if it
fails, or if too little time is left.

Without a GPU the script says what it would measure, writes nothing and exits 0.
"""

from __future__ import annotations

import shutil

from benchmarks.arguments import new_file, script_parser
from benchmarks.gpu.settings import BATCHES, MINUTES, SYSTEMS
from engine.files import write_json
from engine.terminal import silence_libraries


def main() -> None:
    """Compare the systems and write the record."""
    parser = script_parser("benchmarks.scripts.gpu_check", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time limit (default: %(default)s)")
    parser.add_argument("--rehearse", action="store_true", help="run everything on the processor with tiny models")
    asked = parser.parse_args()
    silence_libraries(FutureWarning, UserWarning, DIFFUSERS_VERBOSITY="error")
    if not asked.rehearse and not _gpu_here():
        batches = ", ".join(map(str, BATCHES))
        print(
            "No NVIDIA GPU that PyTorch can use. On a GPU, a guided step and a decoding at the size of Stable "
            f"Diffusion 1.5 would be compared, for {batches} pictures, in at most {asked.minutes + 1:g} minutes:"
        )
        print("\n".join(f"- {name}" for name in SYSTEMS))
        return
    from benchmarks.gpu.comparison import measure

    found = measure(asked.minutes, rehearsal=asked.rehearse)
    write_json(asked.record, found)
    for row in found["compared"]:
        for name, rate in row["per_second"].items():
            print(f"{row['part']}, batch {row['batch_size']}, {name}: {rate:.3g} per second")
        for name, reason in {**row["refused"], **row["not_measured"]}.items():
            print(f"{row['part']}, batch {row['batch_size']}, {name}: not measured: {reason}")
    print(f"Record: {asked.record}")


def _gpu_here() -> bool:
    """Return whether PyTorch can use a GPU. PyTorch is imported only if NVIDIA's driver is installed."""
    if shutil.which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
