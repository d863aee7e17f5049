"""Progress of the request that runs, and the requests that wait."""

from __future__ import annotations

import time
from typing import Any

from engine.serve.encoding import encoded
from engine.serve.sdapi.tasks import Tasks
from engine.serve.service import Progress, Service, Ticket

__all__ = ["pending_tasks", "progress_of", "progress_of_task"]


def progress_of(service: Service, *, picture: bool = True) -> dict[str, Any]:
    """Return how far the running request is, whoever sent it. All numbers are 0 if nothing runs.

    picture: whether the latest preview is wanted, which exists only if the option live_previews_enable is on.
    """
    now = service.progress()
    if now is None:
        return {"progress": 0.0, "eta_relative": 0.0, "state": _state(None), "current_image": None, "textinfo": None}
    preview = service.preview() if picture else None
    return {
        # Above 0, by which clients know that something runs.
        "progress": min(1.0, 0.01 + now.fraction),
        "eta_relative": round(now.remaining_s, 3),
        "state": _state(now),
        "current_image": None if preview is None else encoded(preview.picture.png),
        "textinfo": None,
    }


def _state(now: Progress | None) -> dict[str, Any]:
    state: dict[str, Any] = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    if now is None:
        return state
    ticket = now.ticket
    batch, count = ticket.job.request.batch_size, ticket.request.n
    number, batches = min(now.pictures, count - 1) // batch, -(-count // batch)
    # A second pass counts as a job of its own.
    first, passes = len(ticket.job.plan.rows), 1 if ticket.job.request.hires is None else 2
    second = passes == 2 and now.step >= first
    alone = "scripts_img2img" if ticket.request.initial else "scripts_txt2img"
    return {
        **state,
        "skipped": ticket.skipped,
        "interrupted": ticket.interrupted,
        "job": alone if batches == 1 else f"Batch {number + 1} out of {batches}",
        "job_count": passes * batches,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(ticket.asked)),
        "job_no": passes * number + second,
        "sampling_step": now.step - first if second else now.step,
        "sampling_steps": now.steps - first if second else first,
    }


def pending_tasks(service: Service) -> dict[str, Any]:
    """Return the ids of the requests that wait."""
    waiting = [ticket.id for ticket in service.tickets() if ticket.state == "waiting"]
    return {"size": len(waiting), "tasks": waiting}


def progress_of_task(service: Service, tasks: Tasks, task_id: str, *, seen: int | None = -1) -> dict[str, Any]:
    """Return how far a request is, given by its task id.

    seen: the preview that the client has, which is not sent again. None sends no preview.
    """
    ticket: Ticket | None = next((one for one in service.tickets() if one.id == task_id), None)
    running = ticket is not None and ticket.state == "running"
    now = ticket.progress() if ticket is not None and running else None
    place = 0 if ticket is None else ticket.position
    preview = service.preview() if running and seen is not None else None
    fresh = preview is not None and preview.ticket is ticket and preview.number != seen
    return {
        "active": running,
        "queued": ticket is not None and not running,
        "completed": ticket is None and task_id in tasks,
        "progress": None if now is None else now.fraction,
        "eta": None if now is None else round(now.remaining_s, 3),
        "live_preview": f"data:image/png;base64,{encoded(preview.picture.png)}" if preview and fresh else None,
        "id_live_preview": preview.number if preview and fresh else -1 if seen is None else seen,
        "textinfo": f"In queue: {place} before this one" if ticket is not None and not running else None,
    }
