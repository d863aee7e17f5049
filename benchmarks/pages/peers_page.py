"""The sections of the benchmark page about the comparison of the engine with its peers."""

from __future__ import annotations

from statistics import median

from benchmarks.pages import plots
from benchmarks.pages.markdown_page import Page, Record, bundle_words, machine_words

__all__ = ["PRESET_RECORD", "comparison", "preset_comparison"]

PRESET_RECORD = "peers_turbo.json"


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
    table = [
        [
            *timing_cells(row, name),
            deviation_words(row, name, record["reference"]),
            f"{row['operations_per_second'][name] / limits['float32']:.0%}",
        ]
        for row in rows
        for name in row["per_second"]
    ]
    page.table([*timing_header(unit), "agreement", "share of float32 limit"], table)
    if len(rows) > 1:
        page.plot(f"{prefix}_{part}_latency", f"{title}: latency against batch size", plots.plot_latency(rows))
    page.plot(
        f"{prefix}_{part}_limit",
        f"{title}: rate against the limit, batch {rows[-1]['batch_size']}",
        plots.plot_limit(rows[-1], limits),
    )
    for row in rows:
        note_missing(page, row, part)


def timing_header(unit: str) -> list[str]:
    """Return the header of `timing_cells`."""
    return ["batch", "system", "ms per batch", "range (rounds)", f"{unit} per second", "speed-up over best diffusers"]


def timing_cells(row: Record, name: str) -> list[str]:
    """Return the figures of one system as the beginning of a row of a table."""
    seconds = row["seconds"][name]
    return [
        str(row["batch_size"]),
        name,
        number(1000 * median(seconds), 4),
        f"{number(1000 * min(seconds), 4)} to {number(1000 * max(seconds), 4)} ({len(seconds)})",
        number(row["per_second"][name]),
        f"{row['times_the_best_of_diffusers'][name]:.2f}",
    ]


def note_missing(page: Page, row: Record, part: str) -> None:
    """Note the systems of one comparison that were not timed."""
    place = f"{part}, batch {row['batch_size']}"
    for name, reason in row["refused"].items():
        page.lacks(name, f"not timed, because its result differs: {reason}", place)
    for name, reason in row["not_measured"].items():
        page.lacks(name, reason, place)


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


def preset_comparison(page: Page, file: str = PRESET_RECORD, where: str = "") -> None:
    """Write the section about a record of `python -m benchmarks peers --preset`. where: further words of the title."""
    record = page.read(file)
    if record is None:
        return
    preset = record["preset"]
    name, reference, limits = preset["name"], preset["compared_with"], record["tolerances"]
    weights = "its own UNets" if preset["unets_sha256"] else "the UNets of the classes"
    page.write(
        f"## The preset {name} against the peers{where}",
        f"The engine draws with the preset `{name}`: {preset['steps']} steps of {weights} "
        f"({preset['unet_rows']} UNet rows per picture). The peers draw with the settings of the list, which guide "
        f"every step. Each system draws from noise to PNG files.",
        "",
        origin_words(record),
        "",
        f"{preset['reason']}. The engine's other systems were compared with `{reference}`: at least "
        f"{limits['picture']:g} dB, and at least {limits['picture in 8 bits']:g} dB for 8-bit graphs. Each other "
        f"system was compared with {record['reference']}.",
    )
    rows = []
    for row in record["compared"]:
        for system in row["per_second"]:
            of_engine = row["program"][system] == "engine"
            settings = f"preset `{name}`" if of_engine else f"{record['steps']} steps"
            agreement = deviation_words(row, system, reference if of_engine else record["reference"])
            rows.append([*timing_cells(row, system), settings, agreement])
        note_missing(page, row, f"picture with the preset {name}")
    page.table([*timing_header("pictures"), "settings", "agreement"], rows)
