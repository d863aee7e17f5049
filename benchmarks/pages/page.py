"""Write docs/benchmarks.md and its plots from the records.

    python -m benchmarks.pages.page [RECORDS [PAGE]]       (by default docs/benchmarks and docs/benchmarks.md)

A record that is not there is named as not measured, with the command that makes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from benchmarks.pages import plots
from benchmarks.pages.front_page import front, presets
from benchmarks.pages.markdown_page import Page, Record, machine_words

MAKES = {
    "peers_small.json": "make bench MERGED=...",
    "stages.json": "make bench",
    "scaling.json": "make bench",
    "peers_full_size.json": "make bench FULL_SIZE=1",
    "front.json": "python -m benchmarks.scripts.front docs/benchmarks/front.json WORK REAL --class ...",
    "presets.json": "python -m benchmarks.scripts.front docs/benchmarks/presets.json WORK REAL --only ...",
}
PUBLISHED = Path(__file__).parents[2] / "docs/benchmarks"
HEAD = """# Benchmarks

Written by `python -m benchmarks.pages.page` from the records beside it ([docs/benchmarks](benchmarks)), which hold
every raw sample. Systems of one table were timed in turn, round after round, in one run on one machine: only ratios
within a table say something, times of different tables do not compare. Medians. *How to run it* is at the end.
"""
TAIL = """
## How to run it
```
make bench MERGED=build/cells/merged/cyt_mast      # what `make bundle` leaves; the embedded bundle's own weights
make bench                                         # without: a small base of random weights, made on the spot
make bench FULL_SIZE=1                             # Stable Diffusion 1.5's size too, random weights: see below
python -m benchmarks.scripts.front docs/benchmarks/front.json WORK REAL --n 100 --class lymphocyte --class neutrophil
python -m benchmarks.scripts.front docs/benchmarks/presets.json WORK REAL --n 100 --only 'preset fast' ...
python -m benchmarks.pages.page                     # this page again
```
`BUNDLE` names another bundle than `cells` for MERGED, `BATCHES` the batch sizes (1,8,16), `ROUNDS` the rounds (5),
`SCALE` the sizes of the runs (1,10,100,1000,10000), `SCALE_WITH` further options of theirs (such as `--preset fast`),
`WORK` a folder for everything that is made (build/bench), `RECORDS` that of the records: this page's own with MERGED,
else one in WORK. cyto_bench needs its build tools ([cpp_bench.md](cpp_bench.md)). The full size needs 20 GB of memory
and 10 GB of disk. The machine should do nothing else.
"""


def number(value: float, digits: int = 3) -> str:
    """So many digits, or all before the point."""
    return f"{value:.{digits}g}" if value < 1000 else f"{value:,.0f}"


def origin_words(record: Record) -> str:
    """Where a comparison comes from."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"{machine_words(record)}; class `{record['class']}` of the bundle `{record['bundle']}` "
        f"(SHA-256 {record['bundle_sha256'][:12]}), a UNet of {record['unet_parameters'] / 1e6:.1f} M parameters; "
        f"{record['steps']} DPM++ 2M steps, guidance {record['guidance_scale']:g}; {record['rounds']} rounds; "
        f"commit {record['commit'][:12]}{'-dirty' * record['commit'].endswith('-dirty')}; {versions}."
    )


def deviation_words(row: Record, name: str, reference: str) -> str:
    """How far a system's result is from the reference's."""
    if name == reference:
        return "the reference"
    value = row["deviation"].get(name)
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.2g} of the norm" if row["part"] == "step" else f"{value:.1f} dB"


def limits_of(record: Record) -> dict[str, float]:
    """Operations a second by type: the fastest matrix product that was seen in any round of the run."""
    rates: dict[str, float] = {}
    for row in record["compared"]:
        for kind, product in row["matrix_products"].items():
            rates[kind] = max(rates.get(kind, 0.0), product["operations"] / min(product["seconds"]))
    return rates


def compare_part(page: Page, record: Record, part: str, title: str, prefix: str) -> None:
    """A table and the plots of one part at every batch size."""
    rows = [row for row in record["compared"] if row["part"] == part]
    if not rows:
        return
    unit = {"picture": "pictures", "step": "guided steps", "decode": "decodings"}[part]
    limit = f"{record['tolerances'][part]:g}" + (" of the norm at most" if part == "step" else " dB at least")
    if other := record["tolerances"].get(f"{part} in 8 bits"):
        limit += f", of 8 bits {other:g}"
    words = "Last column: operations against those of float32 matrix products."
    limits = limits_of(record)
    page.write(f"### {title}", f"Agreement asked of each: {limit}. {words}")
    table = []
    for row in rows:
        for name, rate in row["per_second"].items():
            seconds = row["seconds"][name]
            table.append(
                [
                    str(row["batch_size"]),
                    name,
                    number(1000 * median(seconds), 4),
                    f"{number(1000 * min(seconds), 4)} to {number(1000 * max(seconds), 4)} ({len(seconds)})",
                    number(rate),
                    f"{row['times_the_best_of_diffusers'][name]:.2f}",
                    deviation_words(row, name, record["reference"]),
                    f"{row['operations_per_second'][name] / limits['float32']:.0%}",
                ]
            )
    header = ["batch", "", "ms a batch", "range (rounds)", f"{unit} a second", "times the best of diffusers"]
    page.table([*header, "agreement", "of the float32 limit"], table)
    if len(rows) > 1:
        page.plot(f"{prefix}_{part}_latency", f"{title}: latency against batch", plots.plot_latency(rows))
    page.plot(
        f"{prefix}_{part}_limit",
        f"{title}: rate against the limit, batch {rows[-1]['batch_size']}",
        plots.plot_limit(rows[-1], limits),
    )
    for row in rows:
        for name, reason in row["refused"].items():
            page.lacks(name, f"not compared, since it differs: {reason}", f"{part}, batch {row['batch_size']}")
        for name, reason in row["not_measured"].items():
            page.lacks(name, reason, f"{part}, batch {row['batch_size']}")


def operations(page: Page, record: Record) -> None:
    """What is counted, and what the machine's limit makes of it."""
    counted = record["operations"]
    side = next(iter(record["compared"][0]["matrix_products"].values()))["side"]
    page.write(
        "### Operations and the limit",
        "Counted by torch on the models of the merged folder (matrix products, attention, convolutions; a multiply-add "
        f"is two), beside the rate of a product of square matrices of side {side} on the same threads, the fastest of "
        "the run, for each type that the processor has instructions for. The limit is what that rate gives if all else "
        "takes no time.",
    )
    page.table(
        ["", "thousand million operations"],
        [[name.replace("_", " "), number(count / 1e9, 4)] for name, count in counted.items()],
    )
    parts = list(dict.fromkeys(row["part"] for row in record["compared"]))
    page.table(
        ["type", "thousand million operations a second", *(f"limit: {part}s a second" for part in parts)],
        [
            [kind, number(rate / 1e9, 4), *(f"{rate / counted[part]:.3g}" for part in parts)]
            for kind, rate in limits_of(record).items()
        ],
    )


def comparison(page: Page, name: str, title: str, prefix: str, words: str) -> None:
    """A record of `python -m benchmarks peers`."""
    record = page.read(name)
    if record is None:
        return
    page.write(f"## {title}", words, origin_words(record))
    page.write(
        "Each system's result was compared with that of diffusers in float32 before it was timed; cyto_bench compares "
        "its trajectory with the engine's, stable-diffusion.cpp draws a whole picture. diffusers is as its pipelines "
        "come: no channels-last layout, no freezing, `torch.compile` in its default mode. Every run that counts "
        "follows one that does not."
    )
    compare_part(page, record, "picture", "Pictures, from noise to PNG files", prefix)
    compare_part(page, record, "step", "One guided step of the UNet", prefix)
    compare_part(page, record, "decode", "One decoding", prefix)
    operations(page, record)


def stages(page: Page) -> None:
    """`engine bench`."""
    record = page.read("stages.json")
    if record is None:
        return
    interval = record["request"]["guidance_interval"]
    between = f" between sigma {interval[0]:g} and {interval[1]:g}" if interval else ""
    page.write(
        "## What each stage costs",
        f"`engine bench`; {machine_words(record)}; bundle of SHA-256 {record['bundle_sha256'][:12]}, class "
        f"`{record['request']['class_names'][0]}`, {record['request']['num_inference_steps']} steps, guidance "
        f"{record['request']['guidance_scale']:g}{between}, {record['rounds']} rounds. ms a picture.",
    )
    rows = []
    for one in record["measured"]:
        parts = [median(one[f"{stage}_ms"]) / one["batch_size"] for stage in ("denoise", "decode", "png")]
        share = "" if one["host_share"] is None else f"{one['host_share']:.1%}"
        figures = [f"{one['picture_ms']:.1f}", *(f"{part:.1f}" for part in parts), share]
        rows.append([one["runtime"], str(one["batch_size"]), *figures])
    page.table(["runtime", "batch", "all", "denoise", "decode", "PNG", "outside the graphs"], rows)
    page.plot("stages", "The cost of each stage", plots.plot_stages(record["measured"]))


def scaling(page: Page) -> None:
    """Whole runs, from one picture to the most."""
    record = page.read("scaling.json")
    if record is None:
        return
    page.write(
        f"## From 1 picture to {max(map(int, record['seconds'])):,}",
        f"Whole processes of `engine generate {' '.join(record['options'])}`, start, files and contact sheet included; "
        f"{machine_words(record)}. No process took more than {record['peak_mb']:.0f} MB.",
    )
    rows = [
        [n, f"{median(seconds):.1f}", str(len(seconds)), f"{record['pictures_per_second'][n]:.2f}"]
        for n, seconds in record["seconds"].items()
    ]
    page.table(["pictures", "seconds", "times", "pictures a second"], rows)
    page.plot("scaling", "Pictures a second against the length of a run", plots.plot_scaling(record))


def not_measured(page: Page) -> None:
    """Everything that is missing, once, with the reason."""
    page.write("## What was not measured, and why")
    page.table(["", "why", "where"], [[*key, "; ".join(dict.fromkeys(places))] for key, places in page.missing.items()])


def main() -> None:
    """Write the page."""
    records = Path(sys.argv[1]) if len(sys.argv) > 1 else PUBLISHED
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else PUBLISHED.parent / "benchmarks.md"
    page = Page(records, target, head=HEAD, tail=TAIL, makes=MAKES)
    comparison(page, "peers_small.json", "The small base", "small", "A base of the size that ships with the engine.")
    stages(page)
    scaling(page)
    words = "Random weights of Stable Diffusion 1.5's shapes, whose values change no time; 512 x 512 pixels."
    comparison(page, "peers_full_size.json", "Stable Diffusion 1.5's size", "full_size", words)
    front(page)
    presets(page)
    not_measured(page)
    page.finish()
    print(page.page)


if __name__ == "__main__":
    main()
