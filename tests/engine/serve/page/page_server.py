"""Serves the page in its own process: `python -m tests.engine.serve.page.page_server BUNDLE DATA SOCKET OPTION ...`.

Gradio leaves event loops open at its end, which a test process would report as warnings.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from engine.serve.page.app import mount_page
from engine.serve.sdapi.options import Options
from engine.serve.service import Service
from engine.serve.settings import ServeSettings


def main():
    bundle, data, number, *options = sys.argv[1:]
    service = Service(ServeSettings(bundle=[bundle], data=Path(data)))
    app = FastAPI()
    mount_page(app, service, Options(service, service.settings.data / "options.json"), options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    server.run(sockets=[socket.socket(fileno=int(number))])
    service.close()


if __name__ == "__main__":
    main()
