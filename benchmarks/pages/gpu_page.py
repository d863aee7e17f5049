"""The section of the benchmark page about the comparison on a GPU."""

from __future__ import annotations

from statistics import median

from benchmarks.pages.markdown_page import Page, Record

__all__ = ["GPU_RECORD", "gpu"]

GPU_RECORD = "gpu.json"
TITLES = {"step": "One guided step of the UNet", "decode": "One decoding"}


def gpu(page: Page) -> None:
    """Write the section about the record of `make gpu-check`."""
    record = page.read(GPU_RECORD)
    if record is None:
        return
    machine, versions = record["machine"], ", ".join(f"{name} {one}" for name, one in record["versions"].items())
    words = "a rehearsal on a processor with tiny models; these figures say nothing about a GPU"
    if not record["rehearsal"]:
        words = f"{machine['gpu']}, {machine['gpu_memory_bytes'] / 2**30:.0f} GiB, compute capability "
        words += f"{machine['compute_capability']}, driver {machine['driver']}, CUDA {machine['cuda']}"
    page.write(
        "## On a GPU",
        f"`make gpu-check` measures this: a UNet of {record['unet_parameters'] / 1e6:.1f} M random weights, latents of "
        f"{record['latents_side']} x {record['latents_side']}.\n\n"
        f"- Machine: {words}; {machine['processor']}\n"
        f"- Software: commit {record['commit'][:12]}; {versions}\n"
        f"- Rounds: {record['rounds']}\n" + _plans_words(record),
    )
    for part, title in TITLES.items():
        rows = [row for row in record["compared"] if row["part"] == part]
        page.write(f"### {title}, on a GPU", "")
        header = ["pictures", "system", "ms", "range in ms", "pictures per second", "speed-up over eager float16"]
        page.table(
            [*header, "agreement"],
            [_row(record, row, name) for row in rows for name in row["seconds"]],
        )
        for row in rows:
            for name, reason in {**row["refused"], **row["not_measured"]}.items():
                page.lacks(f"{name} (GPU)", reason, f"{part}, batch {row['batch_size']}")


def _plans_words(record: Record) -> str:
    plans = record["plans"]
    if not plans:
        return ""
    size = f"{plans['bytes'] / 1e9:.2f} GB"
    return f"- Plans: {plans['flavour']} {plans['version']}, {size}, built in {plans['seconds']:.0f} s\n"


def _row(record: Record, row: Record, name: str) -> list[str]:
    times = [1000 * seconds for seconds in row["seconds"][name]]
    deviation = row["deviation"].get(name)
    agreement = "reference" if name == record["reference"] else ""
    if isinstance(deviation, float):
        agreement = f"{deviation:.2g} of the norm" if row["part"] == "step" else f"{deviation:.1f} dB"
    return [
        str(row["batch_size"]),
        name,
        f"{median(times):.4g}",
        f"{min(times):.4g} to {max(times):.4g}",
        f"{row['per_second'][name]:.3g}",
        f"{row['times_eager'][name]:.2f}" if name in row["times_eager"] else "",
        agreement,
    ]
