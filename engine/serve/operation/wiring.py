"""Operation and security around the application of a service."""

from __future__ import annotations

from starlette.applications import Starlette

from engine.serve.operation.health import add_health, has_room
from engine.serve.operation.metrics import Metrics
from engine.serve.operation.observe import add_metrics, observe
from engine.serve.operation.stop import RefuseWork
from engine.serve.security.protect import protect
from engine.serve.service import Service

__all__ = ["add_operation"]


def add_operation(app: Starlette, service: Service) -> None:
    """Add metrics, health, the checks of requests, and logs. Call it after every route and middleware was added.

    Raises RequestError for settings that are not safe.
    """
    metrics, jobs = Metrics(), service.jobs
    service.turns.call_when_drawn(metrics.drew)
    metrics.watch("cytosynth_jobs", "Jobs by state.", "state", jobs.counts)
    metrics.watch("cytosynth_requests", "Requests for pictures by state.", "state", lambda: _tickets(service))
    add_metrics(app, metrics)
    checks = {
        "not stopping": lambda: not service.stop.begun,
        "data folder": lambda: has_room(service.settings.data),
        "jobs": lambda: jobs.alive,
    }
    add_health(app, checks)
    app.add_middleware(RefuseWork, stop=service.stop)
    protect(app, service.settings)
    observe(app, metrics)


def _tickets(service: Service) -> dict[str, int]:
    """Return the number of requests for pictures that wait and that run."""
    found = {"waiting": 0, "running": 0}
    for ticket in service.tickets():
        if ticket.state in found:
            found[ticket.state] += 1
    return found
