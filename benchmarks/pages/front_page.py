"""The sections of the benchmark page about quality against cost."""

from __future__ import annotations

from typing import Any

from benchmarks.pages import plots
from benchmarks.pages.markdown_page import Page, bundle_words, machine_words

__all__ = ["front"]

FRONTS = {
    "front.json": ("front", "## Quality against cost"),
    "front_first_bundle.json": ("front_first_bundle", "### Quality against cost of the first bundle"),
}
"""The beginning of the names of plots, and the heading, by record."""
FIGURES = ("FD-cyto", "KD-cyto")


def front(page: Page) -> None:
    """Write the sections about quality against cost."""
    for file, (plot, heading) in FRONTS.items():
        record = page.read(file)
        if record is not None:
            _front(page, record, plot, heading)


def _front(page: Page, record: dict[str, Any], plot: str, heading: str) -> None:
    classes = list(record["settings"]["default"]["classes"])
    page.write(
        heading,
        f"Measured by `python -m benchmarks.scripts.front` on {machine_words(record)}; {_run_words(record)}; compared "
        f"with {record['real']}.\n\n"
        "- A class has FD-cyto and KD-cyto, as `python -m evaluate score` computes them, for the default with their "
        "intervals.\n"
        "- *within*: both distances are at most the upper end of the default's interval, in every class.\n"
        "- *UNet rows*: evaluations of the UNet per picture. A guided step needs two.\n",
    )
    rows = []
    for name, one in sorted(record["settings"].items(), key=lambda item: item[1]["unet_rows"]):
        figures = [
            ", ".join(_figure(one["classes"][class_name][figure]["fake"], name == "default") for figure in FIGURES)
            for class_name in classes
        ]
        speed = [f"{one['pictures_per_second']:.2f}", f"{one['times_the_default']:.2f}"]
        rows.append([name, str(one["unet_rows"]), *speed, *figures, "yes" if one["within"] else "no"])
    page.table(["setting", "UNet rows", "pictures per second", "speed-up", *classes, "within"], rows)
    for name in classes:
        page.plot(f"{plot}_{name}", f"FD-cyto of {name} against speed", plots.plot_front(record, name))


def _figure(found: dict[str, float], interval: bool) -> str:
    """Return a distance in words, with its interval if wanted."""
    return f"{found['value']:.3g}" + (f" [{found['low']:.3g}, {found['high']:.3g}]" if interval else "")


def _run_words(record: dict[str, Any]) -> str:
    """Return software, batch, rounds and bundle of a record."""
    rounds = len(record["settings"]["default"]["seconds"])
    software = f"cytosynth {record['version']}, {record['backend'].split(' on ')[0]}"
    bundle = bundle_words(record["bundle_sha256"])
    return f"{software}; batch {record['batch_size']}, {rounds} rounds; bundle with {bundle}"
