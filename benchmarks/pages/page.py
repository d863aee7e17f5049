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
from benchmarks.pages.front_page import front
from benchmarks.pages.gpu_page import GPU_RECORD, gpu
from benchmarks.pages.markdown_page import Page, bundle_words, machine_words
from benchmarks.pages.peers_page import PRESET_RECORD, comparison, preset_comparison
from benchmarks.pages.published import BENCHMARKS_PAGE, CPP_BENCH_PAGE, RECORDS, link

MAKES = {
    "peers_small.json": "make bench MERGED=...",
    "peers_small_vnni.json": "python -m benchmarks peers BUNDLE --merged ... --record ..., on a processor with VNNI",
    "stages.json": "make bench",
    "scaling.json": "make bench",
    "peers_full_size.json": "make bench FULL_SIZE=1",
    "peers_full_size_int8.json": "python -m benchmarks peers BUNDLE --merged ... --part step --record ...",
    PRESET_RECORD: f"python -m benchmarks peers cells --merged ... --preset turbo --record .../{PRESET_RECORD}",
    "peers_turbo_avx2.json": "python -m benchmarks peers ... --preset turbo ..., on a processor with AVX2 alone",
    GPU_RECORD: "make gpu-check",
    "front.json": "python -m benchmarks.scripts.front docs/benchmarks/front.json WORK REAL --class ...",
    "front_first_bundle.json": "python -m benchmarks.scripts.front ... --bundle ..., with the first bundle",
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
python -m benchmarks peers cells --merged build/cells/merged/lymphocyte --preset turbo --rounds 3 \\
    --record docs/benchmarks/peers_turbo.json
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
    words = "The base has the size of the embedded one."
    comparison(page, "peers_small.json", "The small base", "small", words)
    comparison(page, "peers_small_vnni.json", "The small base on a processor with VNNI", "small_vnni", words)
    stages(page)
    scaling(page)
    words = "Random weights with the shapes of Stable Diffusion 1.5; 512 x 512 pixels. Values do not change times."
    comparison(page, "peers_full_size.json", "The size of Stable Diffusion 1.5", "full_size", words)
    words = "Random weights of these shapes again, with 8-bit graphs (`exporter int8`); the guided step alone."
    comparison(page, "peers_full_size_int8.json", "The size of Stable Diffusion 1.5 in 8 bits", "full_size_int8", words)
    preset_comparison(page)
    preset_comparison(page, "peers_turbo_avx2.json", ", on a processor without bfloat16 and VNNI")
    gpu(page)
    front(page)
    not_measured(page)
    page.write(TAIL.format(cpp_bench=link(CPP_BENCH_PAGE, page.page)))
    page.finish()
    print(page.page)


if __name__ == "__main__":
    main()
