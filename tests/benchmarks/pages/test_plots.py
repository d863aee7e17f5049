"""Plots of the benchmark page: the engine's systems stand out, whatever their names are."""

from __future__ import annotations

from benchmarks.pages.plots import plot_latency, plot_limit, save

ROWS = [
    {
        "batch_size": size,
        "program": {"ours": "engine", "engineered": "another"},
        "seconds": {"ours": [0.1 * size, 0.2 * size], "engineered": [1.0 * size]},
        "operations_per_second": {"ours": 2e9, "engineered": 1e9},
    }
    for size in (1, 8)
]


def test_lines_of_the_engine_are_solid():
    (axes,) = plot_latency(ROWS).axes
    assert {line.get_label(): line.get_linestyle() for line in axes.lines} == {"ours": "-", "engineered": ":"}
    (ours, _) = axes.lines
    assert [round(float(value)) for value in ours.get_ydata()] == [150, 150]


def test_bars_of_the_engine_have_a_colour_of_their_own():
    (axes,) = plot_limit(ROWS[0], {"float32": 3e9}).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    colours = dict(zip(labels, [bar.get_facecolor() for bar in axes.patches], strict=True))
    assert colours["ours"] != colours["engineered"]


def test_equal_records_give_equal_files(tmp_path):
    for name in ("one.svg", "two.svg"):
        save(plot_latency(ROWS), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
