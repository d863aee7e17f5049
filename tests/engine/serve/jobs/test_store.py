"""The queue of jobs in SQLite."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.serve.jobs.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Store

REQUEST = {"classes": {"a": 2}, "settings": {"prompt": "ü"}}


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "jobs.sqlite")
    yield opened
    opened.close()


def ids(rows):
    return [row.id for row in rows]


def test_a_new_job_waits_with_what_was_asked_for(store):
    row = store.add("a", 2, REQUEST)
    assert (row.state, row.total, row.done, row.request, row.error) == (QUEUED, 2, 0, REQUEST, None)
    assert store.get("a") == row
    assert store.get("b") is None


def test_jobs_run_in_the_order_in_which_they_came(store):
    for name in "abc":
        store.add(name, 1, REQUEST)
    assert store.begin("b")
    assert ids(store.waiting()) == ["b", "a", "c"]
    assert store.end("b", DONE)
    assert ids(store.waiting()) == ["a", "c"]
    assert store.counts() == {QUEUED: 2, RUNNING: 0, DONE: 1, FAILED: 0, CANCELLED: 0}


def test_a_list_has_pages_and_states(store):
    for name in "abcd":
        store.add(name, 1, REQUEST)
    store.end("b", CANCELLED)
    newest = store.jobs(limit=2)
    assert ids(newest) == ["d", "c"]
    assert ids(store.jobs(limit=2, before=newest[-1].number)) == ["b", "a"]
    assert ids(store.jobs(CANCELLED)) == ["b"]


def test_what_ran_when_the_server_was_killed_waits_again_before_the_others(tmp_path):
    path = tmp_path / "jobs.sqlite"
    killed = Store(path)
    for name in "ab":
        killed.add(name, 9, REQUEST)
    killed.begin("a")
    killed.progress("a", 4)
    # Not closed, as after a kill.
    again = Store(path)
    assert [(row.id, row.state, row.done) for row in again.waiting()] == [("a", QUEUED, 4), ("b", QUEUED, 0)]
    again.close()
    killed.close()


def test_an_ended_job_does_not_change_by_itself(store):
    store.add("a", 2, REQUEST)
    store.begin("a")
    assert store.end("a", FAILED, failed=1, error={"subject": "s"})
    assert not store.end("a", DONE)
    assert not store.begin("a")
    store.progress("a", 2)
    row = store.get("a")
    assert (row.state, row.done, row.failed, row.error) == (FAILED, 0, 1, {"subject": "s"})
    assert store.queue_again("a")
    assert store.get("a").error is None


def test_a_running_job_is_not_removed(store):
    store.add("a", 1, REQUEST)
    store.begin("a")
    assert not store.remove("a")
    store.end("a", DONE)
    assert not store.queue_again("a")
    assert store.remove("a")
    assert not store.remove("a")


def test_one_of_many_threads_begins_a_job(store):
    for i in range(20):
        store.add(str(i), 1, REQUEST)
    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(lambda i: store.begin(str(i % 20)), range(100)))
    assert sum(begun) == 20
