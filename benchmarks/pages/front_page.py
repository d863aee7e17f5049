"""The page's part on quality against cost."""

from __future__ import annotations

from benchmarks.pages import plots
from benchmarks.pages.markdown_page import Page, machine_words


def front(page: Page) -> None:
    """Quality against cost."""
    record = page.read("front.json")
    if record is None:
        return
    classes = list(record["settings"]["default"]["classes"])
    page.write(
        "## Quality against cost",
        f"`benchmarks/scripts/front.py`; {machine_words(record)}; batch {record['batch_size']}; bundle of SHA-256 "
        f"{record['bundle_sha256'][:12]}; compared with {record['real']}. FD-cyto and KD-cyto with "
        "their intervals, as `python -m evaluate score` gives them. *Within*: at most the upper end of the default's "
        "interval in both, in every class. UNet rows: evaluations a picture, two for a guided step.",
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
    page.table(["", "UNet rows", "pictures a second", "times the default", *distances, "within"], rows)
    for name in classes:
        page.plot(f"front_{name}", f"FD-cyto of {name} against speed", plots.plot_front(record, name))


def presets(page: Page) -> None:
    """The bundle's presets on every class."""
    record = page.read("presets.json")
    if record is None:
        return
    settings = record["settings"]
    default = settings["default"]
    speeds = "; ".join(
        f"`{name}` {' '.join(one['options'])}: {one['pictures_per_second']:.2f} pictures a second, "
        f"{one['times_the_default']:.2f} times the default, {'within' if one['within'] else 'not within'}"
        for name, one in settings.items()
        if name != "default"
    )
    page.write(
        "### Presets on every class",
        f"As above, bundle of SHA-256 {record['bundle_sha256'][:12]}; compared with {record['real']}. "
        "The default makes "
        f"{default['pictures_per_second']:.2f} pictures a second ({' '.join(default['options'])}). {speeds}.",
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
