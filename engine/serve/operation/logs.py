"""Structured logs: one JSON object per line, with the id of the request, without prompts or pictures.

An event is a fixed word, and its fields are numbers and names that this package writes. The message of an exception may
repeat what a client sent, so only its class and its place in the code are logged.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

__all__ = ["LOGGER", "REQUEST_ID", "JsonLines", "log", "new_request_id", "start_logging"]

LOGGER = logging.getLogger("engine.serve")
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that this task or thread answers."""
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
FRAMES = 12
"""Number of innermost calls that the place of an exception has."""
THEIRS = ("uvicorn", "uvicorn.error")


def new_request_id(given: str | None) -> str:
    """Return the id that a client or proxy gave to its request, or a new one if it is missing or unusable."""
    return given if given is not None and GIVEN_ID.fullmatch(given) else secrets.token_hex(8)


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Write one event. Fields are plain JSON values; none may hold what a client wrote."""
    LOGGER.log(level, event, extra={"fields": fields, "trouble": error})


class JsonLines(logging.Formatter):
    """Formats a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": when, "level": record.levelname.lower()}
        own = hasattr(record, "fields")
        # The libraries below log text that may hold what a client wrote. Only their own words are kept.
        line["event"] = record.getMessage() if own or not record.args else str(record.msg)
        line["event"] = line["event"].strip().splitlines()[0] if line["event"].strip() else record.name
        if (request_id := REQUEST_ID.get()) is not None:
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        error = getattr(record, "trouble", None) or (record.exc_info[1] if record.exc_info else None)
        if error is not None:
            line |= {"error": type(error).__name__, "at": _place(error.__traceback__)}
        return json.dumps(line, default=str)


def _place(found: TracebackType | None) -> list[str]:
    """Return the innermost calls of a traceback, without the values of anything."""
    frames = traceback.extract_tb(found)[-FRAMES:]
    return [f"{frame.filename.rsplit('/', 2)[-1]}:{frame.lineno} {frame.name}" for frame in frames]


def start_logging(stream: TextIO | None = None) -> logging.Handler:
    """Write the logs of the server and of uvicorn to a stream (default: stderr). Return the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name in (LOGGER.name, *THEIRS):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # Every request is logged by `observe`, with its id.
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False
    return handler
