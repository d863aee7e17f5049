"""Plots for reports. They can be read on a phone, in print, and without colours (filled against outlined)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluate.studies.morphology import Comparison
from evaluate.studies.utility_figures import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["new_figure", "plot_histogram", "plot_measures", "plot_utility", "to_image"]

DPI = 144
BINS = 24
STYLES: tuple[dict[str, Any], ...] = (
    {"histtype": "stepfilled", "color": "#9ecae1"},
    {"histtype": "step", "color": "#a63603", "linewidth": 1.8},
)


def new_figure(height: float) -> Figure:
    """Return an empty figure of 6.5 by `height` inches."""
    # Matplotlib takes a second to import, and the help of the command line draws nothing.
    from matplotlib.figure import Figure

    return Figure(figsize=(6.5, height), layout="constrained")


def to_image(figure: Figure) -> Image.Image:
    """Render a figure as an RGB image at 144 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Image.open(buffer).convert("RGB")


def plot_histogram(
    samples: Mapping[str, NDArray[np.floating]], label: str, mark: tuple[str, float] | None = None
) -> Figure:
    """Draw the histograms of two samples on one axis. `mark` is a named vertical line."""
    figure = new_figure(3.2)
    axes = figure.subplots()
    _histogram(axes, samples, mark)
    axes.set_xlabel(label)
    axes.set_ylabel("share of pictures")
    axes.legend(frameon=False)
    return figure


def plot_measures(measures: Mapping[str, Comparison], titles: Mapping[str, str]) -> Figure:
    """Draw the histograms of measures, two per row. titles: the short name of each measure."""
    rows = -(-len(measures) // 2)
    figure = new_figure(1.0 + 1.7 * rows)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for name, ax in zip(measures, axes, strict=False):
        _measure(ax, titles[name], measures[name])
    for ax in axes[len(measures) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=10)
    figure.supylabel("share of pictures", fontsize=10)
    return figure


def plot_utility(rows: Mapping[str, Row]) -> Figure:
    """Draw the balanced accuracy of every arm with its interval, one panel per row of the results."""
    figure = new_figure(0.6 + 1.9 * len(rows))
    for ax, (title, row) in zip(
        figure.subplots(len(rows), 1, squeeze=False, sharex=True)[:, 0], rows.items(), strict=True
    ):
        found = [arm.balanced_accuracy for arm in row.arms.values()]
        means = np.array([one.mean for one in found])
        reach = np.abs([[one.low for one in found], [one.high for one in found]] - means)
        ax.errorbar(means, list(row.arms), xerr=reach, fmt="o", color="#08519c", capsize=3)
        ax.invert_yaxis()
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("balanced accuracy on held-out real pictures", fontsize=9)
        ax.grid(axis="x", alpha=0.4)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _measure(ax: Axes, title: str, comparison: Comparison) -> None:
    _histogram(ax, {"real": comparison.real, "synthetic": comparison.synthetic})
    ax.set_title(title, fontsize=10)
    if comparison.distance_in_sd is not None and comparison.floor_in_sd is not None:
        ax.set_xlabel(f"distance {comparison.distance_in_sd:.2f} sd, floor {comparison.floor_in_sd:.2f}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.locator_params(nbins=4)


def _histogram(
    ax: Axes, samples: Mapping[str, Sequence[float] | NDArray[np.floating]], mark: tuple[str, float] | None = None
) -> None:
    both = np.concatenate([np.asarray(values) for values in samples.values()])
    # The outermost bins also count the most extreme hundredth, which would otherwise stretch the axis.
    low, high = np.percentile(both, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    if np.array_equal(both, both.round()):
        edges = np.arange(both.min(), both.max() + 2) - 0.5
    for (name, values), style in zip(samples.items(), STYLES, strict=True):
        inside = np.clip(values, edges[0], edges[-1])
        ax.hist(inside, bins=edges.tolist(), weights=np.full(len(inside), 1 / len(inside)), label=name, **style)
    if mark is not None:
        ax.axvline(mark[1], color="black", linestyle="--", label=mark[0])
    ax.spines[["top", "right"]].set_visible(False)
