"""The command `engine serve`: an API that clients of AUTOMATIC1111's WebUI know, jobs, and a page."""

from __future__ import annotations

import getpass
import importlib.util
import sys
from typing import Annotated

import typer

from engine.errors import RequestError
from engine.options import with_options
from engine.serve.security.passwords import hash_password as make_line
from engine.serve.settings import ServeSettings

__all__ = ["serve"]

PACKAGES = ("fastapi", "gradio", "prometheus_client", "uvicorn")

HashPasswordOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Ask for the password of this user, print the line for the file of --auth, and exit. "
        "Without a terminal the password is read from stdin.",
        rich_help_panel=ServeSettings.PANEL,
    ),
]


@with_options
def serve(settings: ServeSettings, hash_password: HashPasswordOption = None) -> None:
    """Serve pictures over HTTP: a page, the API of AUTOMATIC1111's WebUI, and jobs."""
    if hash_password is not None:
        print(make_line(hash_password, _password()))
        return
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            "engine serve",
            found=f"no package {missing[0]}",
            expected="the packages of the extra serve",
            fix="pip install 'cytosynth[serve]'",
        )
    from engine.serve.server import serve as run

    run(settings)


def _password() -> str:
    """Return the password that the user types twice, or the first line of stdin. Raises RequestError."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same password again: ") != password:
        raise RequestError("The password", found="two different ones", expected="the same twice", fix="run it again")
    return password
