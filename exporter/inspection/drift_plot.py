"""The plot of `exporter drift`: the relative error of every layer, in the order of the graph."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from exporter.inspection.drift import Drift

__all__ = ["plot_drift"]

KINDS = 6
"""Kinds of layers with a colour of their own: those with the largest shares. The others are grey."""
MARKED = 5
"""Layers that are named."""


def plot_drift(drift: Drift, path: Path) -> None:
    """Write a PNG: one point per layer, coloured by kind, and the names of the worst layers."""
    shares: dict[str, float] = {}
    for layer in drift.layers:
        shares[layer.kind] = shares.get(layer.kind, 0.0) + layer.share
    kinds = sorted(shares, key=lambda kind: -shares[kind])[:KINDS]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    places = {layer.name: place for place, layer in enumerate(drift.layers)}
    # An axis of logarithms shows no zeros and no infinities.
    shown = [layer for layer in drift.layers if 0 < layer.relative_error < math.inf]
    for kind in [None, *kinds]:
        points = [layer for layer in shown if (layer.kind == kind if kind else layer.kind not in kinds)]
        axes.plot(
            [places[layer.name] for layer in points],
            [layer.relative_error for layer in points],
            linestyle="",
            marker=".",
            label="other kinds" if kind is None else f"{kind} ({shares[kind]:.0%})",
            color="#bdbdbd" if kind is None else None,
        )
    for layer in drift.worst[:MARKED]:
        if layer in shown:
            place = places[layer.name], layer.relative_error
            axes.annotate(layer.module, place, fontsize=6, xytext=(-4, 4), textcoords="offset points", ha="right")
    axes.set(yscale="log", xlabel="layer, in the order of the graph", ylabel="relative error")
    axes.set_title(f"{drift.graph} in {drift.compared_with}, compared with float32", fontsize=10)
    axes.legend(title="kind (share)", frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
