"""Plots against training steps: what each panel shows."""

from __future__ import annotations

import numpy as np

from evaluate.report.curve_plots import plot_curve, plot_means
from evaluate.studies.score import Figure, Score

SHOWN = ("FD-cyto", "IS-cyto-10")


def score(value):
    return Score(Figure(0.2, 0.1, 0.3), Figure(value, value - 0.1, value + 0.2), {}, {})


BY_STEP = {5000: {"FD-cyto": score(2.0), "IS-cyto-10": score(3.0)}, 10000: {"FD-cyto": score(1.0)}}


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_a_figure_is_drawn_if_every_checkpoint_has_it_beside_the_theses_panels():
    figure = plot_curve(BY_STEP, SHOWN, {5000: (0.6, 2.5), 10000: (0.5, 2.4)})
    assert titles(figure) == ["FD-cyto", "the thesis's FID, as published", "the thesis's IS, as published"]
    (measured,) = figure.axes[0].containers
    np.testing.assert_array_equal(measured.lines[0].get_ydata(), [2.0, 1.0])
    np.testing.assert_array_equal(figure.axes[0].lines[-1].get_ydata(), [0.2, 0.2])  # the floor
    assert titles(plot_curve(BY_STEP, SHOWN, None)) == ["FD-cyto"]


def test_means_over_the_steps_have_a_bar_per_class():
    figure = plot_means({"cyt_mast": BY_STEP, "other": {5000: BY_STEP[5000]}}, SHOWN, {"cyt_mast": (0.6, 2.5)})
    assert titles(figure) == ["mean FD-cyto", "the thesis's mean FID", "the thesis's mean IS"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.5, 2.0]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.6]
