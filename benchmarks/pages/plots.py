"""The plots of the benchmark page: SVG files that depend only on the records and are readable without colours."""

from __future__ import annotations

import itertools
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["plot_front", "plot_latency", "plot_limit", "plot_scaling", "plot_stages", "save"]

Record = dict[str, Any]
matplotlib.rcParams.update({"svg.hashsalt": "cytosynth", "svg.fonttype": "none", "font.size": 9})
MARKERS = "osD^vPX*<>"
OWN = "engine"
"""The program whose systems stand out."""
STAGES = {"denoise": "#3182bd", "decode": "#9ecae1", "png": "#d9d9d9"}


def _axes(width: float = 7.0, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, without date and version."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def plot_latency(rows: list[Record]) -> Figure:
    """Plot median milliseconds per picture against the batch size, one line per system. rows: one row per batch size,
    all of the same part."""
    figure, axes = _axes()
    names = dict.fromkeys(name for row in rows for name in row["seconds"])
    for name, marker in zip(names, itertools.cycle(MARKERS), strict=False):
        found = [row for row in rows if name in row["seconds"]]
        sizes = [row["batch_size"] for row in found]
        times = [1000 * median(row["seconds"][name]) / row["batch_size"] for row in found]
        axes.plot(sizes, times, marker=marker, label=name, linestyle="-" if found[0]["program"][name] == OWN else ":")
    axes.set(xlabel="batch size", ylabel="ms per picture", xscale="log", yscale="log")
    axes.set_xticks(sorted({row["batch_size"] for row in rows}), minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_limit(row: Record, limits: dict[str, float]) -> Figure:
    """Plot operations per second of each system, and of matrix products as vertical lines by type."""
    figure, axes = _axes(height=0.28 * len(row["seconds"]) + 1.2)
    names = list(row["seconds"])[::-1]
    rates = [row["operations_per_second"][name] / 1e9 for name in names]
    colours = ["#3182bd" if row["program"][name] == OWN else "#bdbdbd" for name in names]
    axes.barh(names, rates, color=colours, edgecolor="black", linewidth=0.5)
    for (kind, rate), style in zip(limits.items(), ("-", "--", ":"), strict=False):
        axes.axvline(rate / 1e9, color="black", linestyle=style, linewidth=1, label=f"matrix product, {kind}")
    axes.set(xlabel="billion operations per second")
    axes.legend(frameon=False, fontsize=7)
    return figure


def plot_stages(measured: list[Record]) -> Figure:
    """Plot milliseconds per picture of each stage, one bar per backend and batch size."""
    figure, axes = _axes(height=0.3 * len(measured) + 1)
    names = [f"{one['runtime']}, batch {one['batch_size']}" for one in measured][::-1]
    left = [0.0] * len(names)
    for stage, colour in STAGES.items():
        widths = [median(one[f"{stage}_ms"]) / one["batch_size"] for one in measured][::-1]
        axes.barh(range(len(names)), widths, left=left, color=colour, edgecolor="black", linewidth=0.5, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="ms per picture")
    axes.legend(frameon=False, fontsize=7)
    return figure


def plot_scaling(record: Record) -> Figure:
    """Plot pictures per second of a whole process against the number of pictures in the run."""
    figure, axes = _axes(height=2.8)
    axes.plot([int(n) for n in record["pictures_per_second"]], list(record["pictures_per_second"].values()), marker="o")
    axes.set(xlabel="pictures in the run", ylabel="pictures per second", xscale="log", ylim=(0, None))
    return figure


def plot_front(record: Record, class_name: str, figure_name: str = "FD-cyto") -> Figure:
    """Plot a distance of one class against pictures per second. Filled points are within the default's interval."""
    figure, axes = _axes()
    default = record["settings"]["default"]["classes"][class_name][figure_name]["fake"]
    axes.axhspan(default["low"], default["high"], color="#eeeeee", label="interval of the default")
    kinds = {"steps": ("o", lambda name: name.endswith("steps"))}
    kinds["other guidance"] = ("^", lambda name: "sigma" in name or "throughout" in name)
    kinds["no guidance"] = ("s", lambda name: "no guidance" in name)
    kinds["other samplers"] = ("D", lambda name: not name[0].isdigit())
    kinds["8 bits"] = ("P", lambda name: "int8" in name)
    kinds["default and presets"] = ("*", lambda name: name.startswith(("default", "preset")))
    placed: set[str] = set()
    for label, (marker, belongs) in reversed(kinds.items()):
        names = [name for name in record["settings"] if belongs(name) and name not in placed]
        placed.update(names)
        for place, name in enumerate(names):
            one = record["settings"][name]
            found = one["classes"][class_name][figure_name]["fake"]
            axes.errorbar(
                one["pictures_per_second"],
                found["value"],
                yerr=[[max(0.0, found["value"] - found["low"])], [max(0.0, found["high"] - found["value"])]],
                marker=marker,
                markersize=9 if marker == "*" else 5,
                color="black",
                markerfacecolor="black" if one["within"] else "white",
                elinewidth=0.5,
                linestyle="",
                label=label if place == 0 else None,
            )
    axes.set(xlabel="pictures per second", ylabel=f"{figure_name}, {class_name}", yscale="log")
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
