"""The queue of jobs in an SQLite database, which survives a restart and a kill."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["CANCELLED", "DONE", "ENDED", "FAILED", "QUEUED", "RUNNING", "JobRow", "Store"]

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
VERSION = 1
TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    began REAL,
    ended REAL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    request TEXT NOT NULL,
    error TEXT
)
"""
COLUMNS = "number, id, state, created, began, ended, total, done, failed, request, error"


@dataclass(frozen=True)
class JobRow:
    """A job as the database holds it."""

    number: int
    """Place in the order of creation."""
    id: str
    """32 hexadecimal digits, drawn at random."""
    state: str
    """One of queued, running, done, failed and cancelled."""
    created: float
    """Seconds since 1970, as all times here."""
    began: float | None
    """When the job began to run last."""
    ended: float | None
    total: int
    """Number of pictures that are wanted."""
    done: int
    """Number of pictures in the folder, and of seeds that gave none."""
    failed: int
    """Number of seeds that gave no picture."""
    request: dict[str, Any]
    error: dict[str, str] | None
    """Why the job failed, in four parts."""

    @property
    def ended_already(self) -> bool:
        """Whether nothing happens to the job any more by itself."""
        return self.state in ENDED


class Store:
    """The jobs of a data folder. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the database. Jobs that ran when the last server ended are in the queue again."""
        self._lock = threading.Lock()
        self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        with self._lock:
            self._base.execute("PRAGMA journal_mode=WAL")
            # A job that a client was told of is on the disk.
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute(TABLE)
            self._base.execute(f"PRAGMA user_version={VERSION}")
            self._base.execute("UPDATE jobs SET state=? WHERE state=?", (QUEUED, RUNNING))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._base.close()

    def add(self, job_id: str, total: int, request: dict[str, Any]) -> JobRow:
        """Put a new job at the end of the queue."""
        with self._lock:
            self._base.execute(
                "INSERT INTO jobs (id, state, created, total, done, failed, request) VALUES (?, ?, ?, ?, 0, 0, ?)",
                (job_id, QUEUED, time.time(), total, json.dumps(request)),
            )
        found = self.get(job_id)
        assert found is not None
        return found

    def get(self, job_id: str) -> JobRow | None:
        """Return a job, or None if there is none of this id."""
        return next(iter(self._select("WHERE id=?", job_id)), None)

    def jobs(self, state: str | None = None, *, limit: int = 100, before: int | None = None) -> list[JobRow]:
        """Return jobs, the newest first. before: only jobs whose number is smaller."""
        clauses = [("state=?", state)] * (state is not None) + [("number<?", before)] * (before is not None)
        where = f"WHERE {' AND '.join(clause for clause, _ in clauses)}" if clauses else ""
        return self._select(f"{where} ORDER BY number DESC LIMIT ?", *(value for _, value in clauses), limit)

    def waiting(self) -> list[JobRow]:
        """Return the jobs that run or wait, in the order in which they run."""
        return self._select("WHERE state IN (?, ?) ORDER BY state=? DESC, number", QUEUED, RUNNING, RUNNING)

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        with self._lock:
            found = dict(self._base.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in (QUEUED, RUNNING, *ENDED)}

    def begin(self, job_id: str) -> bool:
        """Note that a job runs. Return whether it was still in the queue."""
        return self._change(job_id, (QUEUED,), state=RUNNING, began=time.time(), ended=None, error=None)

    def progress(self, job_id: str, done: int) -> None:
        """Note how many pictures of a running job are finished."""
        self._change(job_id, (RUNNING,), done=done)

    def end(self, job_id: str, state: str, *, failed: int | None = None, error: dict[str, str] | None = None) -> bool:
        """Note that a job ended. Return whether it ran or waited."""
        values: dict[str, Any] = {"state": state, "ended": time.time(), "error": error and json.dumps(error)}
        if failed is not None:
            values["failed"] = failed
        return self._change(job_id, (QUEUED, RUNNING), **values)

    def queue_again(self, job_id: str) -> bool:
        """Put a job that stopped, failed or was cancelled into the queue. Return whether it was one of these."""
        return self._change(job_id, (RUNNING, FAILED, CANCELLED), state=QUEUED, ended=None, error=None)

    def remove(self, job_id: str) -> bool:
        """Forget a job that does not run. Return whether there was one."""
        with self._lock:
            return self._base.execute("DELETE FROM jobs WHERE id=? AND state!=?", (job_id, RUNNING)).rowcount > 0

    def _change(self, job_id: str, states: tuple[str, ...], **values: Any) -> bool:
        """Change columns of a job if it is in one of these states. The names of the columns are this module's."""
        columns = ", ".join(f"{name}=?" for name in values)
        marks = ", ".join("?" * len(states))
        with self._lock:
            sql = f"UPDATE jobs SET {columns} WHERE id=? AND state IN ({marks})"  # noqa: S608
            return self._base.execute(sql, (*values.values(), job_id, *states)).rowcount > 0

    def _select(self, rest: str, *values: Any) -> list[JobRow]:
        with self._lock:
            found = self._base.execute(f"SELECT {COLUMNS} FROM jobs {rest}", values).fetchall()  # noqa: S608
        names = [declared.name for declared in fields(JobRow)]
        return [_row(dict(zip(names, row, strict=True))) for row in found]


def _row(values: dict[str, Any]) -> JobRow:
    error = values["error"]
    return JobRow(
        **{**values, "request": json.loads(values["request"]), "error": None if error is None else json.loads(error)}
    )
