"""The jobs of a server: their folders, their queue, and the thread that runs them through the engine's own runs."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.backends.base import Backend
from engine.bundle.folder import Bundle
from engine.bundle.job import Job
from engine.bundle.settings import HardwareSettings
from engine.errors import RequestError
from engine.files import contents_of
from engine.locks import lock_folder
from engine.runs.generate import RunResult, generate
from engine.serve.jobs.errors import public_error
from engine.serve.jobs.production import produce_in_turns
from engine.serve.jobs.requests import PICTURES, JobRequest, Place, bytes_of, make_checked_job, write_initial
from engine.serve.jobs.store import CANCELLED, DONE, FAILED, RUNNING, JobRow, Store
from engine.serve.operation.logs import log
from engine.serve.operation.stop import GRACE_S
from engine.serve.settings import LimitSettings
from engine.serve.work import Turns

__all__ = ["JOB_ID", "Jobs", "NoRoom", "TooManyJobs"]

JOBS, DATABASE = "jobs", "jobs.sqlite"
JOB_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
SPARE_BYTES = 100 * 2**20
"""Free space that stays besides the pictures of a new job."""
RETRY_S = 60


class TooManyJobs(Exception):  # noqa: N818 - named as the client meets it
    """As many jobs wait as are allowed."""

    retry_after_s = RETRY_S


class NoRoom(Exception):  # noqa: N818 - named as the client meets it
    """The pictures of a job would not fit on the disk."""


@dataclass
class _Running:
    """The job that runs, and the requests to stop it."""

    id: str
    enough: threading.Event
    """Set to begin no further chunk."""
    stop: threading.Event
    """Set to give up the chunk that is being drawn, too."""
    began: float
    """Clock at its first picture of this run."""
    done_before: int = -1
    done: int = 0
    latest: float = 0.0
    """Clock at the end of its latest chunk."""
    cancelled: bool = False


class Jobs:
    """All methods may be called from any thread."""

    def __init__(
        self,
        data: Path,
        bundles: Mapping[str, Bundle],
        turns: Turns,
        backend_of: Callable[[Job], Backend],
        limits: LimitSettings,
        hardware: HardwareSettings,
    ) -> None:
        """Open the jobs of a data folder. Nothing runs before `start`. Raises RequestError if another server has it.

        bundles: the served bundles, which may become more. backend_of: called in a turn; returns a backend that stays
        open after the job.
        """
        self._backend_of = backend_of
        self._folder, self._bundles, self._turns = data / JOBS, bundles, turns
        self._limits, self._hardware = limits, hardware
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = lock_folder(self._folder)
        self._store = Store(data / DATABASE)
        self._changed = threading.Condition()
        self._running: _Running | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="cytosynth jobs", daemon=True)

    def start(self) -> None:
        """Run the jobs of the queue from now on."""
        self._remove_strays()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are run."""
        return self._thread.is_alive()

    @property
    def closed(self) -> bool:
        """Whether the server stops. Streams end then."""
        return self._closed

    @property
    def private(self) -> list[Path]:
        """The folders whose names a client must not see."""
        return [self._folder.parent, *(bundle.folder for bundle in self._bundles.values()), Path.cwd(), Path.home()]

    def create(self, request: JobRequest) -> JobRow:
        """Put a job into the queue. Raises RequestError, TooManyJobs and NoRoom."""
        self._expect_place_in_queue()
        name = request.bundle or next(iter(self._bundles))
        bundle = self._bundles.get(name)
        if bundle is None:
            served = ", ".join(self._bundles)
            raise RequestError("bundle", found=name, expected=f"one of {served}", fix="choose one of these")
        job_id = secrets.token_hex(16)
        place = self._place(job_id)
        place.folder.mkdir(mode=0o700)
        try:
            write_initial(request, place.folder)
            job = make_checked_job(bundle, request.classes, request.stated(), place)
            self._expect_room(job)
            # A random seed is drawn once, so that the job goes on with it after a restart.
            settings = {**request.stated(), "seed": job.request.seed}
            if job.request.variation is not None and job.request.variation.seed is not None:
                settings["variation_seed"] = job.request.variation.seed
            kept = {"bundle": name, "bundle_sha256": bundle.sha256, "classes": request.classes, "settings": settings}
            with self._changed:
                self._expect_place_in_queue()
                row = self._store.add(job_id, sum(job.request.counts), {**kept, "warnings": list(job.warnings)})
                self._changed.notify_all()
        except BaseException:
            shutil.rmtree(place.folder, ignore_errors=True)
            raise
        log("job created", job=row.id, pictures=row.total)
        return row

    def get(self, job_id: str) -> JobRow | None:
        """Return a job, or None if there is none of this id."""
        return self._store.get(job_id) if JOB_ID.fullmatch(job_id) else None

    def jobs(self, state: str | None, limit: int, before: int | None) -> list[JobRow]:
        """Return jobs, the newest first."""
        return self._store.jobs(state, limit=limit, before=before)

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        return self._store.counts()

    def positions(self) -> dict[str, int]:
        """Return the number of jobs before each job that runs or waits."""
        return {row.id: place for place, row in enumerate(self._store.waiting())}

    def rate(self, job_id: str) -> float | None:
        """Return the pictures per second of a running job since it began to run, or None if none is finished."""
        running = self._running
        if running is None or running.id != job_id or running.done <= running.done_before:
            return None
        return (running.done - running.done_before) / max(1e-3, time.monotonic() - running.began)

    def pictures_of(self, job_id: str) -> Path:
        """Return the folder of a job's pictures."""
        return self._place(job_id).output.folder

    def cancel(self, job_id: str) -> bool:
        """Stop a job. Its finished pictures stay. Return whether it ran or waited."""
        with self._changed:
            running = self._running
            if running is not None and running.id == job_id:
                running.cancelled = True
                running.enough.set()
                running.stop.set()
                return True
            return self._store.end(job_id, CANCELLED)

    def resume(self, job_id: str) -> bool:
        """Put a job that failed or was cancelled into the queue again. Return whether it was one of these."""
        with self._changed:
            row = self._store.get(job_id)
            if row is None or row.state == RUNNING:
                return False
            self._expect_place_in_queue()
            queued = self._store.queue_again(job_id)
            self._changed.notify_all()
            return queued

    def remove(self, job_id: str) -> bool:
        """Remove a job that does not run, and its pictures. Return whether there was one."""
        with self._changed:
            removed = self._store.remove(job_id)
        if removed:
            shutil.rmtree(self._place(job_id).folder, ignore_errors=True)
            log("job removed", job=job_id)
        return removed

    def pause(self) -> None:
        """Begin nothing more, and stop the running job after the chunk that it draws. A restarted server resumes it."""
        self._closed = True
        if (running := self._running) is not None:
            running.enough.set()

    def cut(self) -> None:
        """Give up the chunk that is being drawn. The finished ones are kept."""
        self.pause()
        if (running := self._running) is not None:
            running.stop.set()

    def close(self, grace_s: float = GRACE_S) -> None:
        """Pause, wait until the running job is stopped, and release the data folder.

        grace_s: seconds that the chunk that is being drawn may take.
        """
        self.pause()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(grace_s)
            self.cut()
            self._thread.join()
        self._store.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _place(self, job_id: str) -> Place:
        if not JOB_ID.fullmatch(job_id):
            raise ValueError("no id of a job")
        return Place(self._folder / job_id, self._hardware, self._limits)

    def _expect_place_in_queue(self) -> None:
        waiting = len(self._store.waiting())
        if waiting >= self._limits.jobs:
            raise TooManyJobs(f"{waiting} jobs wait already. Try again later, or cancel one.")

    def _expect_room(self, job: Job) -> None:
        needed = bytes_of(job) + SPARE_BYTES
        if shutil.disk_usage(self._folder).free < needed:
            raise NoRoom(
                f"The pictures need about {needed / 1e6:.0f} MB, which are not free. Order fewer, or remove jobs."
            )

    def _work(self) -> None:
        while (found := self._next()) is not None:
            row, running = found
            try:
                self._run(row, running)
            except Exception as error:  # the queue goes on, whatever becomes of one job
                self._fail(row, public_error(error, self.private))
                log("job failed", level=logging.ERROR, error=error, job=row.id)
            finally:
                self._running = None

    def _next(self) -> tuple[JobRow, _Running] | None:
        """Wait for a job whose bundle is served, and begin it. None ends the thread."""
        with self._changed:
            while not self._closed:
                for row in self._store.waiting():
                    if row.request["bundle"] in self._bundles and self._store.begin(row.id):
                        self._running = _Running(row.id, threading.Event(), threading.Event(), time.monotonic())
                        return row, self._running
                # A bundle may be added without a word.
                self._changed.wait(5)
        return None

    def _run(self, row: JobRow, running: _Running) -> None:
        bundle, place = self._bundles[row.request["bundle"]], self._place(row.id)
        if bundle.sha256 != row.request["bundle_sha256"]:
            raise RequestError(
                f"The bundle {row.request['bundle']}",
                found="another than when the job was created",
                expected="the same bundle",
                fix="create the job again",
            )
        job = make_checked_job(bundle, row.request["classes"], row.request["settings"], place)
        log("job begins", job=row.id)
        if self._closed:
            running.enough.set()
        with self._turns.turn():
            backend = self._backend_of(job)
        result = generate(
            job,
            place.output,
            backend=backend,
            produced_by=produce_in_turns(self._turns, running.enough),
            stop=running.stop,
            progress=self._progress_of(running, row.request["bundle"]),
        )
        self._finish(row, running, result)

    def _progress_of(self, running: _Running, bundle: str) -> Callable[..., None]:
        def progress(task: str, done: int, total: int, *_: float | None) -> None:
            now = time.monotonic()
            if running.done_before < 0:
                running.done_before, running.began = done, now
            else:
                # The task is the class. Its first chunk takes the opening of its model, too.
                self._turns.drew(bundle, task, done - running.done, now - running.latest)
            running.done, running.latest = done, now
            self._store.progress(running.id, done)

        return progress

    def _finish(self, row: JobRow, running: _Running, result: RunResult) -> None:
        with self._changed:
            self._running = None
            if not result.stopped:
                self._store.end(row.id, DONE, failed=result.failed)
            elif running.cancelled:
                self._store.end(row.id, CANCELLED, failed=result.failed)
            else:
                self._store.queue_again(row.id)
        log("job ends", job=row.id, made=result.made, total=result.total, stopped=result.stopped)

    def _fail(self, row: JobRow, error: dict[str, str]) -> None:
        with self._changed:
            self._store.end(row.id, FAILED, error=error)

    def _remove_strays(self) -> None:
        """Remove the folders of requests that a killed server never put into its queue."""
        for path in contents_of(self._folder):
            known = JOB_ID.fullmatch(path.name) and self._store.get(path.name) is None
            if known and path.is_dir() and not (path / PICTURES).exists():
                shutil.rmtree(path, ignore_errors=True)
