"""Plots: what they show, and that they can be read without colours."""

from __future__ import annotations

import numpy as np

from evaluate.report.plots import plot_morphology, to_image
from evaluate.studies.morphology import TITLES, Comparison, Morphology


def drawn_morphology() -> Morphology:
    rng = np.random.default_rng(3)

    def values(count):
        return tuple(rng.uniform(size=count).tolist())

    comparisons = {
        name: Comparison(values(16), values(8), 8, 0.2, (0.1, 0.3), 0.1, (0.05, 0.15), 0.3, 0.7, 0.3) for name in TITLES
    }
    return Morphology(comparisons, 16, 8, 0, 0, side=64, one_cell=True)


def test_the_morphology_plot_shows_every_measure():
    figure = plot_morphology(drawn_morphology())
    assert [ax.get_title() for ax in figure.axes] == list(TITLES.values())
    for ax in figure.axes:
        real, synthetic = ax.patches
        assert real.get_fill()
        assert not synthetic.get_fill()
    assert to_image(figure).size[0] > 800
