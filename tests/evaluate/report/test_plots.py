"""Plots: what they show, and that they can be read without colours."""

from __future__ import annotations

import numpy as np

from evaluate.report.plots import plot_measures, to_image
from evaluate.studies.morphology import TITLES, Comparison


def drawn_measures() -> dict[str, Comparison]:
    rng = np.random.default_rng(3)

    def values(count):
        return tuple(rng.uniform(size=count).tolist())

    return {
        name: Comparison(values(16), values(8), 8, 0.2, (0.1, 0.3), 0.1, (0.05, 0.15), 0.3, 0.7, 0.3) for name in TITLES
    }


def test_the_plot_shows_every_measure():
    figure = plot_measures(drawn_measures(), TITLES)
    assert [ax.get_title() for ax in figure.axes] == list(TITLES.values())
    for ax in figure.axes:
        real, synthetic = ax.patches
        assert real.get_fill()
        assert not synthetic.get_fill()
    assert to_image(figure).size[0] > 800
