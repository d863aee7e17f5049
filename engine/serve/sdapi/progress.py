"""Progress of the request that runs, and the requests that wait."""

from __future__ import annotations

import time
from typing import Any

from engine.serve.sdapi.tasks import Tasks
from engine.serve.service import Progress, Service, Ticket

__all__ = ["pending_tasks", "progress_of", "progress_of_task"]


def progress_of(service: Service) -> dict[str, Any]:
    """Return how far the running request is, whoever sent it. All numbers are 0 if nothing runs."""
    now = service.progress()
    if now is None:
        return {"progress": 0.0, "eta_relative": 0.0, "state": _state(None), "current_image": None, "textinfo": None}
    return {
        # Above 0, by which clients know that something runs.
        "progress": min(1.0, 0.01 + now.fraction),
        "eta_relative": round(now.remaining_s, 3),
        "state": _state(now),
        "current_image": None,
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
    return {
        **state,
        "interrupted": ticket.interrupted,
        "job": "scripts_img2img" if ticket.request.initial else "scripts_txt2img",
        "job_count": -(-count // batch),
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(ticket.asked)),
        "job_no": min(now.pictures, count - 1) // batch,
        "sampling_step": now.step,
        "sampling_steps": now.steps,
    }


def pending_tasks(service: Service) -> dict[str, Any]:
    """Return the ids of the requests that wait."""
    waiting = [ticket.id for ticket in service.tickets() if ticket.state == "waiting"]
    return {"size": len(waiting), "tasks": waiting}


def progress_of_task(service: Service, tasks: Tasks, task_id: str) -> dict[str, Any]:
    """Return how far a request is, given by its task id."""
    ticket: Ticket | None = next((one for one in service.tickets() if one.id == task_id), None)
    running = ticket is not None and ticket.state == "running"
    now = ticket.progress() if ticket is not None and running else None
    place = 0 if ticket is None else ticket.position
    return {
        "active": running,
        "queued": ticket is not None and not running,
        "completed": ticket is None and task_id in tasks,
        "progress": None if now is None else now.fraction,
        "eta": None if now is None else round(now.remaining_s, 3),
        "live_preview": None,
        "id_live_preview": -1,
        "textinfo": f"In queue: {place} before this one" if ticket is not None and not running else None,
    }
