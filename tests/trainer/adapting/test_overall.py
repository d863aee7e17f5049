"""One progress over all stages, with the time that is left."""

from __future__ import annotations

import pytest

from trainer.adapting.overall import Overall, duration_words


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched():
    clock, shown = Clock(), []
    overall = Overall({"fit": 60.0, "export": 30.0, "sheet": 10.0}, lambda *words: shown.append(words), clock)
    return overall, clock, shown


def test_progress_counts_the_cost_of_stages(watched):
    overall, _, shown = watched
    report = overall.stage("fit")
    report("training", 5, 10, 0.25, 1e-3)
    assert [words[1:] for words in shown] == [(0, 1000, None), (300, 1000, 0.25)]
    overall.finish("fit")
    overall.stage("export")
    assert shown[-1][1:] == (600, 1000, None)


def test_the_time_left_follows_from_the_measured_speed(watched):
    overall, clock, shown = watched
    report = overall.stage("fit")
    clock.now = 60.0
    report("training", 1, 2)
    assert overall.seconds_left("fit", 0.5) == pytest.approx(140)
    assert shown[-1][0] == "fit, about 3 min left"
    clock.now = 1.0
    assert overall.seconds_left("fit", 0.5) is None


def test_a_silent_stage_advances_but_never_completes(watched):
    overall, clock, shown = watched
    overall.stage("fit")
    clock.now = 120.0
    overall.finish("fit")
    overall.stage("export")
    places = []
    for clock.now in (150.0, 180.0, 1000.0):
        overall.elapse("export", 120.0)
        places.append(shown[-1][1])
    assert places == [750, 885, 885]


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (61, "61 s"), (125, "3 min"), (9000, "2.5 h")])
def test_durations_in_words(seconds, words):
    assert duration_words(seconds) == words
