"""Plots of figures against training steps. The values of the thesis have their own panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evaluate.report.plots import new_figure
from evaluate.studies.score import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_curve", "plot_means"]

OURS, THEIRS = "#08519c", "#a63603"
Published = Mapping[int, tuple[float, float]]


def plot_curve(by_step: Mapping[int, Mapping[str, Score]], shown: Sequence[str], published: Published | None) -> Figure:
    """Draw the figures of one class with intervals and floors, and the values that the thesis published for it."""
    figures = [name for name in shown if all(name in figures for figures in by_step.values())]
    figure, panels = _panels(len(figures) + (2 if published else 0))
    for ax, name in zip(panels, figures, strict=False):
        scores = [figures[name] for figures in by_step.values()]
        values = np.array([found.fake.value for found in scores])
        reach = np.abs([[found.fake.low for found in scores], [found.fake.high for found in scores]] - values)
        ax.errorbar(list(by_step), values, reach, color=OURS, marker="o", capsize=3, label="synthetic")
        floor = [found.floor.value for found in scores]
        ax.plot(list(by_step), floor, color="black", linestyle=":", label="real against real")
        ax.set_title(name, fontsize=10)
        ax.legend(frameon=False, fontsize=8)
    if published:
        for ax, place, name in zip(panels[len(figures) :], (0, 1), ("FID", "IS"), strict=False):
            values = np.array([pair[place] for pair in published.values()])
            ax.plot(list(published), values, color=THEIRS, marker="s", linestyle="--")
            ax.set_title(f"the thesis's {name}, as published", fontsize=10)
    for ax in panels:
        ax.set_xlabel("training steps", fontsize=9)
    return figure


def plot_means(
    scores: Mapping[str, Mapping[int, Mapping[str, Score]]],
    shown: Sequence[str],
    published: Mapping[str, tuple[float, float]],
) -> Figure:
    """Draw the mean of each figure over the steps, by class, and the means that the thesis published."""
    figures = [name for name in shown if all(name in by for steps in scores.values() for by in steps.values())]
    theirs = [name for name in scores if name in published]
    figure, panels = _panels(len(figures) + (2 if theirs else 0))
    for ax, name in zip(panels, figures, strict=False):
        _bars(
            ax, {key: float(np.mean([by[name].fake.value for by in steps.values()])) for key, steps in scores.items()}
        )
        ax.set_title(f"mean {name}", fontsize=10)
    if theirs:
        for ax, place, name in zip(panels[len(figures) :], (0, 1), ("FID", "IS"), strict=False):
            _bars(ax, {key: published[key][place] for key in theirs}, hatch="//", facecolor="white", edgecolor=THEIRS)
            ax.set_title(f"the thesis's mean {name}", fontsize=10)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    rows = -(-count // 2)
    figure = new_figure(2.4 * rows)
    axes = list(figure.subplots(rows, 2, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_axis_off()
    for ax in axes[:count]:
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]


def _bars(ax: Axes, values: Mapping[str, float], **style: object) -> None:
    bars = ax.barh(list(values), list(values.values()), **({"color": OURS} | style))  # type: ignore[arg-type]
    ax.bar_label(bars, fmt="%.3g", fontsize=8)
    ax.invert_yaxis()
    ax.margins(x=0.15)
