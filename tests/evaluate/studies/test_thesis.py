"""The figures that the thesis published."""

from __future__ import annotations

import pytest

from evaluate.studies.thesis import MEANS, PUBLISHED


def test_the_means_of_the_thesis_follow_from_its_tables():
    """Table 3.7 follows from tables 3.3 to 3.6, up to rounding: the mean IS of cyt_nep_fib_mast is 2.7275."""
    for name, by_step in PUBLISHED.items():
        for place in (0, 1):
            mean = sum(pair[place] for pair in by_step.values()) / len(by_step)
            assert MEANS[name][place] == pytest.approx(mean, abs=0.011)
