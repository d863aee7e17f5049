"""Run `python -m <part>` in a process whose imports are done already.

Importing torch and diffusers takes longer than most commands take to run. `python -m tests.prefork SOCKET`
therefore imports their packages once and forks for every command: the command runs in its own process, with its own
arguments, environment, output, exit code and signals. Without `os.fork` and `os.pidfd_open` (Linux) there is no such
server.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["GARBAGE", "PACKAGES", "ROOT", "SUPPORTED", "Server", "run_prepared"]

SUPPORTED = hasattr(os, "fork") and hasattr(os, "pidfd_open")
ROOT = Path(__file__).parents[1]
GARBAGE = 20_000
"""New objects after which Python looks for garbage; its default is 700."""
MAX_BYTES = 1 << 20
READY = b"ready\n"
TORCH = (
    "torch",
    "diffusers.models",
    "diffusers.schedulers",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "transformers.models.clip.modeling_clip",
    "scipy.ndimage",
    "scipy.stats",
)
PACKAGES = {
    "engine": ("numpy", "PIL.Image", "rich.table", "safetensors.numpy", "typer"),
    "trainer": TORCH,
    "exporter": (*TORCH, "onnx", "onnxscript", "torch.onnx"),
    "evaluate": ("skimage.measure", "scipy.stats", "matplotlib.pyplot"),
    "benchmarks": (*TORCH, "onnx"),
    "recipes": (*TORCH, "onnx"),
}
"""What the server imports before the first command of a part: other people's packages only, so that a command still
imports the part itself. OpenVINO, ONNX Runtime and scikit-learn start threads, which no fork survives."""


class Server:
    """The server process; `address` is what `run_prepared` connects to."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "prefork.socket"
        command = [sys.executable, "-m", "tests.prefork", str(self.address)]
        with _log_of(self.address).open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == READY

    def close(self) -> None:
        """End the server, and with it every command that still runs."""
        self._process.communicate()


def run_prepared(
    address: Path, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Return what `subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True)` returns."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client,
    ):
        client.settimeout(timeout)
        client.connect(str(address))
        request = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
        socket.send_fds(client, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
        try:
            code = int(client.recv(MAX_BYTES))
        except TimeoutError:
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None
        except (OSError, ValueError) as error:
            raise RuntimeError(f"the server ended:\n{_log_of(address).read_text()}") from error
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
        return subprocess.CompletedProcess(list(arguments), code, *printed)


def _log_of(address: Path) -> Path:
    return address.with_suffix(".log")


def import_packages(part: str) -> None:
    """Import what commands of this part import. A package that is missing is the command's own concern."""
    for name in PACKAGES[part]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # Also keeps the pages of these objects shared with the commands.
    gc.freeze()
    assert len(os.listdir("/proc/self/task")) == 1, f"a package of {part} starts a thread"


class Commands:
    """The server's loop. Each command is a child process; the server answers with its exit code."""

    def __init__(self, address: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(address)
        self._listener.listen()
        # The end of stdin is the end of the process that started this one.
        self._selector.register(0, selectors.EVENT_READ, self._stop)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._running: set[int] = set()
        self._arguments: list[str] | None = None

    def wait(self) -> list[str]:
        """Serve requests. Returns only in a child process: the words of the command that it must run."""
        while self._arguments is None:
            for key, _ in self._selector.select():
                key.data()
                if self._arguments is not None:
                    break
        return self._arguments

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self._selector.register(client, selectors.EVENT_READ, lambda: self._start(client))

    def _start(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        content, outputs, _, _ = socket.recv_fds(client, MAX_BYTES, 2)
        request = json.loads(content)
        import_packages(request["arguments"][0].partition(".")[0])
        pid = os.fork()
        if pid == 0:
            self._become(request, outputs, client)
            return
        for output in outputs:
            os.close(output)
        self._running.add(pid)
        pidfd = os.pidfd_open(pid)
        self._selector.register(pidfd, selectors.EVENT_READ, lambda: self._end(pid, pidfd, client))
        # A client that goes away has waited for too long.
        self._selector.register(client, selectors.EVENT_READ, lambda: self._give_up(pid, client))

    def _become(self, request: dict[str, Any], outputs: list[int], client: socket.socket) -> None:
        for opened in (self._selector, self._listener, client):
            opened.close()
        for number, output in enumerate((os.open(os.devnull, os.O_RDONLY), *outputs)):
            os.dup2(output, number)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        self._arguments = request["arguments"]

    def _give_up(self, pid: int, client: socket.socket) -> None:
        os.kill(pid, signal.SIGKILL)
        self._selector.unregister(client)

    def _end(self, pid: int, pidfd: int, client: socket.socket) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._running.remove(pid)
        with contextlib.suppress(KeyError):
            self._selector.unregister(client)
        with client, contextlib.suppress(OSError):
            client.send(str(os.waitstatus_to_exitcode(status)).encode())

    def _stop(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        sys.exit()


def main() -> None:
    """Serve; in a child, be the command."""
    gc.set_threshold(GARBAGE)
    commands = Commands(sys.argv[1])
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    sys.argv = commands.wait()
    warnings.resetwarnings()
    warnings.simplefilter("default")
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
