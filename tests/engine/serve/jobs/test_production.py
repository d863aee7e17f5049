"""Chunks in turns with other requests."""

import threading
from pathlib import Path

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.output.formats import Output
from engine.runs.generate import generate
from engine.serve.jobs.production import produce_in_turns
from engine.serve.work import Turns
from tests.engine.folders import pictures, pictures_in, without_times


def job_of(bundle: Path, n: int):
    settings = settings_of(num_inference_steps=2, batch_size=1, backend="openvino", threads=1)
    return make_job(open_bundle(str(bundle)), ["cyt_mast", "cyt_nep_mast"], n, settings)


def test_the_pictures_are_those_of_the_command_line_even_if_others_take_every_second_turn(tiny_bundle, tmp_path):
    job, turns, ended = job_of(tiny_bundle, 4), Turns(), threading.Event()
    waited = []

    def others():
        while not ended.is_set():
            with turns.turn():
                waited.append(pictures_in(tmp_path / "job"))

    thread = threading.Thread(target=others)
    thread.start()
    try:
        result = generate(job, Output(tmp_path / "job"), produced_by=produce_in_turns(turns))
    finally:
        ended.set()
        thread.join()
    assert result.total == 8
    # The other thread never waited for the whole job: it had turns while there were few pictures, and more.
    assert len({count for count in waited if 0 < count < 8}) >= 4
    generate(job, Output(tmp_path / "alone"))
    assert without_times(tmp_path / "job") == without_times(tmp_path / "alone")


def test_nothing_is_computed_while_another_thread_has_its_turn(tiny_bundle, tmp_path):
    turns = Turns()
    run = threading.Thread(
        target=generate,
        args=(job_of(tiny_bundle, 1), Output(tmp_path / "job")),
        kwargs={"produced_by": produce_in_turns(turns)},
    )
    with turns.turn():
        run.start()
        run.join(1)
        assert run.is_alive()
        assert pictures(tmp_path / "job") == {}
    run.join(60)
    assert len(pictures(tmp_path / "job")) == 2


def test_the_chunk_that_is_being_made_is_finished_when_it_is_enough(tiny_bundle, tmp_path):
    turns, enough = Turns(), threading.Event()
    settings = settings_of(num_inference_steps=100, batch_size=2, backend="openvino", threads=1)
    job = make_job(open_bundle(str(tiny_bundle)), ["cyt_mast", "cyt_nep_mast"], 40, settings)
    results = []
    run = threading.Thread(
        target=lambda: results.append(
            generate(
                job,
                Output(tmp_path / "job"),
                produced_by=produce_in_turns(turns, enough),
                progress=lambda _, done, __: enough.set() if done == 2 else None,
            )
        )
    )
    run.start()
    run.join(60)
    # The stages run ahead: what they have begun is finished, too.
    assert results[0].stopped
    assert 4 <= results[0].total < 20
    assert len(pictures(tmp_path / "job")) == results[0].total
