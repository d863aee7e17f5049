"""All routes of the API of AUTOMATIC1111's WebUI."""

from __future__ import annotations

from fastapi import FastAPI

from engine.serve.service import Service

__all__ = ["add_sdapi"]


def add_sdapi(app: FastAPI, service: Service) -> None:
    """Add the routes to an application."""

    @app.get("/internal/ping")
    async def ping() -> dict[str, str]:
        """Answer, so that a client knows that the server lives."""
        return {}
