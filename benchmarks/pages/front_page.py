"""The sections of the benchmark page about quality against cost."""

from __future__ import annotations

from typing import Any

from benchmarks.pages import plots
from benchmarks.pages.markdown_page import Page, bundle_words, machine_words

__all__ = ["front", "presets"]


FRONTS = {
    "front.json": ("front", "## Quality against cost"),
    "front_turbo.json": ("front_turbo", "### Quality against cost of the preset turbo"),
    "front_solvers.json": ("front_solvers", "### Quality against cost of further solvers"),
}
"""The beginning of the names of plots, and the heading, by record."""


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
        "- FD-cyto and KD-cyto are given with their intervals, as `python -m evaluate score` computes them.\n"
        "- *within*: both distances are at most the upper end of the default's interval, in every class.\n"
        "- *UNet rows*: evaluations of the UNet per picture. A guided step needs two.\n",
    )
    rows = []
    for name, one in sorted(record["settings"].items(), key=lambda item: item[1]["unet_rows"]):
        figures = [
            f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}]"
            for class_name in classes
            for found in (one["classes"][class_name][figure]["fake"] for figure in ("FD-cyto", "KD-cyto"))
        ]
        speed = [f"{one['pictures_per_second']:.2f}", f"{one['times_the_default']:.2f}"]
        rows.append([name, str(one["unet_rows"]), *speed, *figures, "yes" if one["within"] else "no"])
    distances = [f"{figure} {class_name}" for class_name in classes for figure in ("FD-cyto", "KD-cyto")]
    page.table(["setting", "UNet rows", "pictures per second", "speed-up", *distances, "within"], rows)
    for name in classes:
        page.plot(f"{plot}_{name}", f"FD-cyto of {name} against speed", plots.plot_front(record, name))


def _run_words(record: dict[str, Any]) -> str:
    """Return software, batch, rounds and bundle of a record."""
    rounds = len(record["settings"]["default"]["seconds"])
    software = f"cytosynth {record['version']}, {record['backend'].split(' on ')[0]}"
    bundle = bundle_words(record["bundle_sha256"])
    return f"{software}; batch {record['batch_size']}, {rounds} rounds; bundle with {bundle}"


def presets(page: Page) -> None:
    """Write the section about the bundle's presets on every class."""
    record = page.read("presets.json")
    if record is None:
        return
    settings = record["settings"]
    default = settings["default"]
    speeds = "; ".join(
        f"`{name}` ({' '.join(one['options'])}): {one['pictures_per_second']:.2f} pictures per second, "
        f"{one['times_the_default']:.2f} times the default, {'within' if one['within'] else 'not within'}"
        for name, one in settings.items()
        if name != "default"
    )
    page.write(
        "### Presets on every class",
        f"Measured in the same way on {machine_words(record)}; {_run_words(record)}; compared with {record['real']}. "
        f"The default ({' '.join(default['options'])}): "
        f"{default['pictures_per_second']:.2f} pictures per second. {speeds}.",
    )
    rows = []
    for class_name, scored in default["classes"].items():
        words = [
            f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}]"
            for figure in ("FD-cyto", "KD-cyto")
            for one in settings.values()
            for found in [one["classes"][class_name][figure]["fake"]]
        ]
        rows.append([f"`{class_name}`", str(scored["n"]), *words])
    heads = [f"{figure}, {name}" for figure in ("FD-cyto", "KD-cyto") for name in settings]
    page.table(["class", "N", *heads], rows)
