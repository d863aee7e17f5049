"""Write the benchmark page and its plots from the records.

    python -m benchmarks.pages.page [RECORDS [PAGE.md]]

RECORDS is docs/benchmarks by default, PAGE.md the published page. The page lists each missing record as not measured,
with the command that makes it.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.arguments import existing_folder, new_file, script_parser
from benchmarks.pages import plots
from benchmarks.pages.front_page import front, presets
from benchmarks.pages.gpu_page import GPU_RECORD, gpu
from benchmarks.pages.markdown_page import Page, Record, bundle_words, machine_words
from benchmarks.pages.published import BENCHMARKS_PAGE, CPP_BENCH_PAGE, RECORDS, link

MAKES = {
    "peers_small.json": "make bench MERGED=...",
    "stages.json": "make bench",
    "scaling.json": "make bench",
    "peers_full_size.json": "make bench FULL_SIZE=1",
    GPU_RECORD: "make gpu-check",
    "front.json": "python -m benchmarks.scripts.front docs/benchmarks/front.json WORK REAL --class ...",
    **{
        name: f"python -m benchmarks.scripts.front docs/benchmarks/{name} WORK REAL --class ... --only ..."
        for name in ("front_turbo.json", "presets.json")
    },
}
HEAD = """# Benchmarks

`python -m benchmarks.pages.page` writes this page from the [records]({records}), which hold every raw sample. All
systems of one table took turns, round after round, in one run on one machine. Compare only figures of the same table,
because the machine's speed drifts between runs. Times are medians. Each section names the bundle that it measured, and
says whether it is the embedded bundle that ships. The last section shows how to run the benchmarks.
"""
TAIL = """## How to run the benchmarks
```
make bench MERGED=build/cells/merged/cyt_mast      # a merged folder of `make bundle`: the embedded bundle's weights
make bench                                         # without MERGED: a small base of random weights, made on the spot
make bench FULL_SIZE=1                             # also the size of Stable Diffusion 1.5, with random weights
python -m benchmarks.scripts.front docs/benchmarks/front.json WORK REAL --n 100 --class lymphocyte --class neutrophil
python -m benchmarks.scripts.front docs/benchmarks/presets.json WORK REAL --n 100 --class basophil --only 'preset fast'
python -m benchmarks.pages.page                    # writes this page again
```
Leave the machine idle otherwise. The full size needs 20 GB of memory and 10 GB of disk. cyto_bench needs build tools
([how to build it]({cpp_bench})). Variables of `make bench`:

| variable | meaning | default |
| --- | --- | --- |
| `MERGED` | merged folder of a class of `BUNDLE` | a small base of random weights |
| `BUNDLE` | bundle with the same weights as `MERGED` | `cells` |
| `FULL_SIZE` | 1 also measures the size of Stable Diffusion 1.5 | off |
| `BATCHES` | batch sizes | 1,8,16 |
| `ROUNDS` | rounds | 5 |
| `SCALE` | pictures per whole run | 1,10,100,1000,10000 |
| `SCALE_WITH` | further options of `engine generate` for whole runs, for example `--preset fast` | none |
| `WORK` | folder for intermediate files | build/bench |
| `RECORDS` | folder of the records | docs/benchmarks with `MERGED`, otherwise `WORK`/records |
"""


def number(value: float, digits: int = 3) -> str:
    """Return a value with this many significant digits, or as a whole number from 1000."""
    return f"{value:.{digits}g}" if value < 1000 else f"{value:,.0f}"


def origin_words(record: Record) -> str:
    """Return a list of where and how a comparison was measured."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    commit = f"{record['commit'][:12]}{'-dirty' * record['commit'].endswith('-dirty')}"
    return "\n".join(
        f"- {line}"
        for line in (
            f"Machine: {machine_words(record)}",
            f"Weights: class `{record['class']}` of the bundle `{record['bundle']}` "
            f"({bundle_words(record['bundle_sha256'])}); UNet with {record['unet_parameters'] / 1e6:.1f} M parameters",
            f"Settings: {record['steps']} DPM++ 2M steps, guidance {record['guidance_scale']:g}, "
            f"{record['rounds']} rounds",
            f"Software: commit {commit}; {versions}",
        )
    )


def deviation_words(row: Record, name: str, reference: str) -> str:
    """Return how far a system's result is from the reference's."""
    if name == reference:
        return "reference"
    value = row["deviation"].get(name)
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.2g} of the norm" if row["part"] == "step" else f"{value:.1f} dB"


def limits_of(record: Record) -> dict[str, float]:
    """Return operations per second by number type: the fastest matrix product in any round of the run."""
    rates: dict[str, float] = {}
    for row in record["compared"]:
        for kind, product in row["matrix_products"].items():
            rates[kind] = max(rates.get(kind, 0.0), product["operations"] / min(product["seconds"]))
    return rates


def compare_part(page: Page, record: Record, part: str, title: str, prefix: str) -> None:
    """Write the table and the plots of one part at every batch size."""
    rows = [row for row in record["compared"] if row["part"] == part]
    if not rows:
        return
    unit = {"picture": "pictures", "step": "guided steps", "decode": "decodings"}[part]
    tolerance = f"{record['tolerances'][part]:g}"
    required = f"at most {tolerance} of the norm" if part == "step" else f"at least {tolerance} dB"
    if other := record["tolerances"].get(f"{part} in 8 bits"):
        required += f", and at least {other:g} dB for 8-bit graphs"
    limits = limits_of(record)
    page.write(
        f"### {title}",
        f"Required agreement with the reference: {required}. The last column compares operations per second with "
        "float32 matrix products.",
        "",
    )
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
    header = ["batch", "system", "ms per batch", "range (rounds)", f"{unit} per second", "speed-up over best diffusers"]
    page.table([*header, "agreement", "share of float32 limit"], table)
    if len(rows) > 1:
        page.plot(f"{prefix}_{part}_latency", f"{title}: latency against batch size", plots.plot_latency(rows))
    page.plot(
        f"{prefix}_{part}_limit",
        f"{title}: rate against the limit, batch {rows[-1]['batch_size']}",
        plots.plot_limit(rows[-1], limits),
    )
    for row in rows:
        for name, reason in row["refused"].items():
            page.lacks(name, f"not timed, because its result differs: {reason}", f"{part}, batch {row['batch_size']}")
        for name, reason in row["not_measured"].items():
            page.lacks(name, reason, f"{part}, batch {row['batch_size']}")


def operations(page: Page, record: Record) -> None:
    """Write the section about counted operations and the machine's limit."""
    counted = record["operations"]
    side = next(iter(record["compared"][0]["matrix_products"].values()))["side"]
    page.write(
        "### Operations and the limit",
        "torch counts the operations of the merged models: matrix products, attention and convolutions. A multiply-add "
        f"counts as two. The limit is the number of pictures per second if every operation ran as fast as the product "
        f"of two square matrices of side {side} on the same threads, and everything else took no time. The rates are "
        "the fastest of the run, for each number type that the processor has instructions for.",
        "",
    )
    page.table(
        ["unit", "billion operations"],
        [[name.replace("_", " "), number(count / 1e9, 4)] for name, count in counted.items()],
    )
    parts = list(dict.fromkeys(row["part"] for row in record["compared"]))
    page.table(
        ["number type", "billion operations per second", *(f"limit: {part}s per second" for part in parts)],
        [
            [kind, number(rate / 1e9, 4), *(f"{rate / counted[part]:.3g}" for part in parts)]
            for kind, rate in limits_of(record).items()
        ],
    )


def comparison(page: Page, name: str, title: str, prefix: str, words: str) -> None:
    """Write the section about a record of `python -m benchmarks peers`."""
    record = page.read(name)
    if record is None:
        return
    page.write(f"## {title}", words, "", origin_words(record))
    page.write(
        "Before a system was timed, its result was compared with the result of diffusers in float32. cyto_bench "
        "compares its trajectory with the engine's, and stable-diffusion.cpp draws a whole picture. diffusers uses "
        "the defaults of its pipelines: no channels-last layout, no freezing, `torch.compile` in its default mode. A "
        "run without timing precedes every timed run."
    )
    compare_part(page, record, "picture", "Pictures, from noise to PNG files", prefix)
    compare_part(page, record, "step", "One guided step of the UNet", prefix)
    compare_part(page, record, "decode", "One decoding", prefix)
    operations(page, record)


def stages(page: Page) -> None:
    """Write the section about a record of `engine bench`."""
    record = page.read("stages.json")
    if record is None:
        return
    interval = record["request"]["guidance_interval"]
    between = f" between sigma {interval[0]:g} and {interval[1]:g}" if interval else ""
    page.write(
        "## The cost of each stage",
        f"Measured by `engine bench` of cytosynth {record['version']} on {machine_words(record)}; bundle with "
        f"{bundle_words(record['bundle_sha256'])}; class `{record['request']['class_names'][0]}`, "
        f"{record['request']['num_inference_steps']} steps, guidance "
        f"{record['request']['guidance_scale']:g}{between}, {record['rounds']} rounds. Times are ms per picture.",
        "",
    )
    rows = []
    for one in record["measured"]:
        parts = [median(one[f"{stage}_ms"]) / one["batch_size"] for stage in ("denoise", "decode", "png")]
        share = "" if one["host_share"] is None else f"{one['host_share']:.1%}"
        figures = [f"{one['picture_ms']:.1f}", *(f"{part:.1f}" for part in parts), share]
        rows.append([one["runtime"], str(one["batch_size"]), *figures])
    page.table(["runtime", "batch", "total", "denoise", "decode", "PNG", "share outside the graphs"], rows)
    page.plot("stages", "The cost of each stage", plots.plot_stages(record["measured"]))


def scaling(page: Page) -> None:
    """Write the section about whole runs."""
    record = page.read("scaling.json")
    if record is None:
        return
    page.write(
        f"## From 1 picture to {max(map(int, record['seconds'])):,}",
        f"Whole processes of `engine generate {' '.join(record['options'])}` with start-up, files and contact sheet, "
        f"of cytosynth {record['version']} on {machine_words(record)}; bundle with "
        f"{bundle_words(record['request']['bundle_sha256'])}. The largest process used {record['peak_mb']:.0f} MB of "
        "memory.",
        "",
    )
    rows = [
        [n, f"{median(seconds):.1f}", str(len(seconds)), f"{record['pictures_per_second'][n]:.2f}"]
        for n, seconds in record["seconds"].items()
    ]
    page.table(["pictures", "seconds", "repetitions", "pictures per second"], rows)
    page.plot("scaling", "Pictures per second against the length of a run", plots.plot_scaling(record))


def not_measured(page: Page) -> None:
    """Write the list of everything that is missing, with reasons."""
    page.write("## What was not measured, and why")
    page.table(
        ["what", "why", "where"], [[*key, "; ".join(dict.fromkeys(places))] for key, places in page.missing.items()]
    )


def main() -> None:
    """Write the page."""
    parser = script_parser("benchmarks.pages.page", __doc__)
    parser.add_argument("records", metavar="RECORDS", type=existing_folder, nargs="?", default=RECORDS)
    parser.add_argument("page", metavar="PAGE.md", type=new_file, nargs="?", default=BENCHMARKS_PAGE)
    asked = parser.parse_args()
    records: Path = asked.records
    page = Page(records, asked.page, MAKES)
    page.write(HEAD.format(records=link(records, page.page)))
    comparison(page, "peers_small.json", "The small base", "small", "The base has the size of the embedded one.")
    stages(page)
    scaling(page)
    words = "Random weights with the shapes of Stable Diffusion 1.5; 512 x 512 pixels. Values do not change times."
    comparison(page, "peers_full_size.json", "The size of Stable Diffusion 1.5", "full_size", words)
    gpu(page)
    front(page)
    presets(page)
    not_measured(page)
    page.write(TAIL.format(cpp_bench=link(CPP_BENCH_PAGE, page.page)))
    page.finish()
    print(page.page)


if __name__ == "__main__":
    main()
