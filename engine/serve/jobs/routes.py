"""The routes /v1/jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from engine.errors import CytosynthError
from engine.serve.jobs.archive import tar_of, zip_of
from engine.serve.jobs.errors import public_error
from engine.serve.jobs.requests import JobRequest
from engine.serve.jobs.results import Picture, line_of, pictures_from
from engine.serve.jobs.runner import JOB_ID, Jobs, NoRoom, TooManyJobs
from engine.serve.jobs.store import JobRow

__all__ = ["JobView", "add_jobs"]

POLL_S = 0.25
"""Seconds between two looks at a running job."""
ALIVE_S = 15.0
"""Seconds after which a stream without news sends an empty line, so that no proxy closes it."""
AS_IT_IS = {"content-encoding": "identity"}
"""Pictures are compressed already, and a compressor would hold back the lines of a stream."""
State = Literal["queued", "running", "done", "failed", "cancelled"]
JobId = Annotated[str, Path(pattern=f"^{JOB_ID.pattern}$", description="Id of the job.")]
PLAIN_ANSWERS: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such job."}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "The job is in another state."}}
FULL: dict[int | str, dict[str, Any]] = {
    503: {"description": "Too many jobs wait. The header Retry-After says when to try again."},
    507: {"description": "The pictures would not fit on the disk of the server."},
}


class JobError(BaseModel):
    """Why a job failed."""

    subject: str
    found: str
    expected: str
    fix: str


class JobView(BaseModel):
    """A job as clients see it. Times are in seconds since 1970."""

    id: str
    state: State
    position: int | None = Field(description="Number of jobs before this one, or null if it has ended.")
    bundle: str
    classes: dict[str, int]
    settings: dict[str, Any]
    warnings: list[str]
    created: float
    began: float | None
    ended: float | None
    total: int = Field(description="Number of pictures that are wanted.")
    done: int = Field(description="Number of seeds that are drawn, including those that gave no picture.")
    failed: int = Field(description="Number of seeds that gave no picture.")
    fraction: float = Field(description="Part of the job that is done, from 0 to 1.")
    pictures_per_second: float | None
    remaining_s: float | None = Field(description="Seconds until the end, if the job goes on as before.")
    error: JobError | None


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobView]
    next: int | None = Field(description="Value of `before` for the next page, or null.")


def add_jobs(app: FastAPI, jobs: Jobs) -> None:
    """Add the routes to an application."""
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    _add_orders(router, jobs)
    _add_changes(router, jobs)
    _add_results(router, jobs)
    _add_streams(router, jobs)
    app.include_router(router)


def _add_orders(router: APIRouter, jobs: Jobs) -> None:
    @router.post("", status_code=201, responses=FULL)
    def create_job(request: JobRequest, response: Response) -> JobView:
        """Order pictures. The job waits in the queue, and survives a restart of the server."""
        try:
            row = _queued(lambda: jobs.create(request))
        except CytosynthError as error:
            parts = public_error(error, jobs.private)
            raise HTTPException(422, "; ".join(f"{name}: {words}" for name, words in parts.items())) from error
        except NoRoom as error:
            raise HTTPException(507, str(error)) from error
        response.headers["location"] = f"/v1/jobs/{row.id}"
        return _view(row, jobs)

    @router.get("")
    def list_jobs(
        state: State | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    ) -> JobList:
        """List jobs, the newest first."""
        rows = jobs.jobs(state, limit, before)
        positions = jobs.positions()
        return JobList(
            jobs=[_view(row, jobs, positions) for row in rows], next=rows[-1].number if len(rows) == limit else None
        )

    @router.get("/{job_id}", responses=PLAIN_ANSWERS)
    def show_job(job_id: JobId) -> JobView:
        """Show the state, queue position and progress of a job."""
        return _view(_row(jobs, job_id), jobs)


def _add_changes(router: APIRouter, jobs: Jobs) -> None:
    def change(job_id: str, action: Callable[[str], bool], wrong: str) -> JobView:
        _row(jobs, job_id)
        if not _queued(lambda: action(job_id)):
            raise HTTPException(409, wrong)
        return _view(_row(jobs, job_id), jobs)

    @router.post("/{job_id}/cancel", responses=PLAIN_ANSWERS | CONFLICT)
    def cancel_job(job_id: JobId) -> JobView:
        """Stop a job. Its finished pictures stay. A running job ends a moment later."""
        return change(job_id, jobs.cancel, "The job has ended already.")

    @router.post("/{job_id}/resume", responses=PLAIN_ANSWERS | CONFLICT | FULL)
    def resume_job(job_id: JobId) -> JobView:
        """Put a job that failed or was cancelled into the queue again. It goes on after its finished pictures."""
        return change(job_id, jobs.resume, "The job neither failed nor was cancelled.")

    @router.delete("/{job_id}", status_code=204, responses=PLAIN_ANSWERS | CONFLICT)
    def remove_job(job_id: JobId) -> None:
        """Remove a job and its pictures. A running job must be cancelled first."""
        _row(jobs, job_id)
        if not jobs.remove(job_id):
            raise HTTPException(409, "The job runs. Cancel it first.")


def _add_results(router: APIRouter, jobs: Jobs) -> None:
    def attachment(job_id: str, suffix: str) -> dict[str, str]:
        return {**AS_IT_IS, "content-disposition": f'attachment; filename="cytosynth-{job_id[:8]}.{suffix}"'}

    @router.get("/{job_id}/tar", response_class=StreamingResponse, responses=PLAIN_ANSWERS)
    def fetch_tar(job_id: JobId, layout: Literal["imagefolder", "webdataset"] = "imagefolder") -> StreamingResponse:
        """Fetch the finished pictures as a tar: one folder per class, or a shard of WebDataset."""
        row = _row(jobs, job_id)
        content = tar_of(jobs.pictures_of(job_id), layout, list(row.request["classes"]), row.created)
        return StreamingResponse(content, media_type="application/x-tar", headers=attachment(job_id, "tar"))

    @router.get("/{job_id}/zip", response_class=StreamingResponse, responses=PLAIN_ANSWERS)
    def fetch_zip(job_id: JobId) -> StreamingResponse:
        """Fetch the finished pictures as a zip with one folder per class."""
        _row(jobs, job_id)
        content = zip_of(jobs.pictures_of(job_id))
        return StreamingResponse(content, media_type="application/zip", headers=attachment(job_id, "zip"))

    @router.get("/{job_id}/pictures", responses=PLAIN_ANSWERS)
    def list_pictures(
        job_id: JobId,
        first: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """List finished pictures, and how each was made."""
        _row(jobs, job_id)
        found = islice(pictures_from(jobs.pictures_of(job_id)), first, first + limit)
        return [{"index": picture.place, **picture.row} for picture in found]

    @router.get("/{job_id}/pictures/{index}", response_class=Response, responses=PLAIN_ANSWERS)
    def fetch_picture(job_id: JobId, index: Annotated[int, Path(ge=0, le=2**62)]) -> Response:
        """Fetch one finished picture as PNG."""
        _row(jobs, job_id)
        picture = next(islice(pictures_from(jobs.pictures_of(job_id)), index, None), None)
        if picture is None:
            raise HTTPException(404, "There is no such picture yet.")
        return Response(picture.path.read_bytes(), media_type="image/png")


def _add_streams(router: APIRouter, jobs: Jobs) -> None:
    @router.get("/{job_id}/stream", response_class=StreamingResponse, responses=PLAIN_ANSWERS)
    async def stream_pictures(job_id: JobId, first: Annotated[int, Query(ge=0, le=2**62)] = 0) -> StreamingResponse:
        """Receive each picture as soon as it is finished: one line of JSON each, with the PNG file in base64.

        The stream ends with the job. After a broken connection, `first` is the number of lines that arrived.
        """
        await run_in_threadpool(_row, jobs, job_id)
        return StreamingResponse(_lines(jobs, job_id, first), media_type="application/x-ndjson", headers=AS_IT_IS)

    @router.get("/{job_id}/events", response_class=StreamingResponse, responses=PLAIN_ANSWERS)
    async def stream_progress(job_id: JobId) -> StreamingResponse:
        """Receive the job as a server-sent event at each change, until it ends."""
        await run_in_threadpool(_row, jobs, job_id)
        fresh = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_events(jobs, job_id), media_type="text/event-stream", headers=fresh)


async def _lines(jobs: Jobs, job_id: str, first: int) -> AsyncIterator[bytes]:
    """Yield the lines of the pictures from `first` on."""
    offset = place = 0
    sent = time.monotonic()
    while True:
        row = await run_in_threadpool(jobs.get, job_id)
        for picture in await run_in_threadpool(_some, jobs, job_id, offset, place):
            offset, place = picture.next_offset, picture.place + 1
            if picture.place >= first:
                yield await run_in_threadpool(line_of, picture)
                sent = time.monotonic()
        more = await run_in_threadpool(_some, jobs, job_id, offset, place, 1)
        if not more:
            # The state was read before the lines, so that none is missing.
            if row is None or row.ended_already or jobs.closed:
                return
            if time.monotonic() - sent > ALIVE_S:
                yield b"\n"
                sent = time.monotonic()
            await asyncio.sleep(POLL_S)


def _some(jobs: Jobs, job_id: str, offset: int, place: int, most: int = 64) -> list[Picture]:
    return list(islice(pictures_from(jobs.pictures_of(job_id), offset, place), most))


async def _events(jobs: Jobs, job_id: str) -> AsyncIterator[bytes]:
    """Yield the job at each change, as server-sent events."""
    before, sent = "", time.monotonic()
    while True:
        row = await run_in_threadpool(jobs.get, job_id)
        if row is None:
            return
        now = (await run_in_threadpool(_view, row, jobs)).model_dump_json()
        if now != before:
            before, sent = now, time.monotonic()
            yield f"data: {now}\n\n".encode()
        elif time.monotonic() - sent > ALIVE_S:
            sent = time.monotonic()
            yield b": alive\n\n"
        if row.ended_already or jobs.closed:
            return
        await asyncio.sleep(POLL_S)


def _queued(action: Callable[[], Any]) -> Any:
    """Return what an action returns. Answer 503 if the queue is full."""
    try:
        return action()
    except TooManyJobs as error:
        raise HTTPException(503, str(error), {"retry-after": str(error.retry_after_s)}) from error


def _row(jobs: Jobs, job_id: str) -> JobRow:
    row = jobs.get(job_id)
    if row is None:
        raise HTTPException(404, "There is no such job.")
    return row


def _view(row: JobRow, jobs: Jobs, positions: Mapping[str, int] | None = None) -> JobView:
    """Return what clients see of a job. positions: those of all jobs, if they are known already."""
    request, rate = row.request, jobs.rate(row.id)
    if positions is None:
        positions = {} if row.ended_already else jobs.positions()
    return JobView(
        **{
            name: getattr(row, name) for name in ("id", "state", "created", "began", "ended", "total", "done", "failed")
        },
        position=None if row.ended_already else positions.get(row.id),
        bundle=request["bundle"],
        classes=request["classes"],
        settings=request["settings"],
        warnings=request["warnings"],
        fraction=row.done / row.total,
        pictures_per_second=rate,
        remaining_s=None if not rate else (row.total - row.done) / rate,
        error=None if row.error is None else JobError(**row.error),
    )
