"""What is served: bundles, and the requests for pictures of their classes. Routes and pages call this object."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from engine.backends.select import settle
from engine.bundle.folder import Bundle, open_bundle
from engine.errors import RequestError
from engine.options import Range, check_within
from engine.sampling.prompt_tags import Adapter
from engine.serve.drawing import Drawing, Drawn, job_of
from engine.serve.jobs.runner import Jobs
from engine.serve.models import Models
from engine.serve.operation.stop import Stop
from engine.serve.settings import ServeSettings
from engine.serve.tickets import Cancelled, Progress, QueueFull, Ticket
from engine.serve.work import Preview, Turns, Work

__all__ = ["Cancelled", "Drawing", "Drawn", "Progress", "QueueFull", "ServedClass", "Service", "Ticket"]

UPLOADS = "uploads"
"""Folder, inside the data folder, of the pictures of requests that run."""


@dataclass(frozen=True)
class ServedClass:
    """A class of a served bundle."""

    bundle: str
    name: str
    prompt: str
    pictures: int
    """Number of pictures that it was trained on."""
    origin: str
    licence: str
    attribution: str
    sha256: str
    """SHA-256 of its bundle."""
    adapters: tuple[Adapter, ...] | None = None
    """What the class was merged of. None if its bundle does not state it."""

    @property
    def model(self) -> str:
        """The name of its model, as the infotext of its pictures states it."""
        return f"{self.bundle} {self.name}"

    @property
    def title(self) -> str:
        """Name and hash, as the WebUI shows a checkpoint."""
        return f"{self.model} [{self.sha256[:10]}]"


class Service:
    """The bundles that are served, and the requests that wait. All methods may be called from any thread."""

    def __init__(self, settings: ServeSettings) -> None:
        """Open the bundles and the data folder. No model is opened yet. Raises RequestError."""
        self.settings = settings
        self.bundles: dict[str, Bundle] = {}
        self._changed = threading.Lock()
        for name in settings.bundles:
            self._add(open_bundle(name))
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.data.chmod(0o700)
        (settings.data / UPLOADS).mkdir(mode=0o700, exist_ok=True)
        self.turns = Turns()
        """Whoever computes takes a turn, such as a job for each of its chunks."""
        self._models = Models(settings.limits.models)
        self._work = Work(self._models, settings.limits, self.turns)
        place = (settings.limits, settings.hardware)
        self.jobs = Jobs(settings.data, self.bundles, self.turns, self._models.backend, *place)
        self.stop = Stop()
        self.stop.call_at_once(self.jobs.pause)
        self.stop.call_after_grace(self.jobs.cut)
        self.stop.call_after_grace(self._end_requests)

    def classes(self) -> list[ServedClass]:
        """Return all classes of all bundles."""
        return [
            ServedClass(
                bundle=name,
                name=class_name,
                prompt=entry.prompt,
                pictures=entry.pictures,
                origin=entry.origin,
                licence=entry.licence,
                attribution=entry.attribution,
                sha256=bundle.sha256,
                adapters=entry.adapters,
            )
            for name, bundle in list(self.bundles.items())
            for class_name, entry in bundle.manifest.classes.items()
        ]

    def add_bundle(self, folder: Path) -> str:
        """Serve another bundle from now on, or a served one afresh. Return its name. Raises RequestError."""
        return self._add(open_bundle(str(folder)))

    def submit(self, request: Drawing, *, task_id: str | None = None) -> Ticket:
        """Put a request into the queue. Raises RequestError for a wrong request, and QueueFull."""
        check_within("The number of pictures", request.n, Range(1, self.settings.limits.max_pictures))
        bundle = self.bundles.get(request.bundle)
        if bundle is None:
            raise RequestError(
                f"The bundle {request.bundle}",
                found="not served",
                expected=f"one of {', '.join(self.bundles)}",
                fix="choose one of these",
            )
        folder = Path(mkdtemp(dir=self.settings.data / UPLOADS))
        with _removed_on_error(folder):
            # Settings of the server, except those that the request states itself.
            asked, own = request.settings.hardware, self.settings.hardware
            hardware = replace(own, batch_size=asked.batch_size, precision=asked.precision or own.precision)
            request = replace(request, settings=replace(request.settings, hardware=hardware))
            job, _ = settle(job_of(request, bundle, folder / "request"), hardware)
            self.settings.limits.check_size(job.request.final_size)
            ticket = Ticket(request, job, folder, task_id)
            self._work.put(ticket)
        return ticket

    @contextmanager
    def upload(self, content: bytes) -> Iterator[Path]:
        """Yield the path of a private file with this content, and remove it at the end."""
        with TemporaryDirectory(dir=self.settings.data / UPLOADS) as folder:
            path = Path(folder) / "picture"
            path.write_bytes(content)
            yield path

    def progress(self) -> Progress | None:
        """Return how far the running request is, or None if nothing runs."""
        ticket = self._work.running()
        return None if ticket is None else ticket.progress()

    def tickets(self) -> list[Ticket]:
        """Return the requests that run or wait, in order."""
        return self._work.tickets()

    def preview(self) -> Preview | None:
        """Return the latest look at the running request, or None if there is none."""
        return self._work.preview()

    def preview_every(self, steps: int) -> None:
        """Decode a look at what is being drawn after so many steps, again and again. 0 decodes none."""
        self._work.preview_every = steps

    def interrupt(self) -> None:
        """End the running request with its pictures as they are now."""
        self._work.interrupt()

    def skip(self) -> None:
        """End the pictures that are being drawn as they are now, and go on with the next ones of the request."""
        self._work.skip()

    def close(self) -> None:
        """End the running request, stop the running job after the chunk that it draws, and close the models."""
        self.jobs.pause()
        self._work.close()
        self.jobs.close()
        self._models.close()

    def _end_requests(self) -> None:
        """End the running request with the pictures that are finished, and cancel those that wait."""
        for ticket in self.tickets():
            if ticket.state == "waiting":
                ticket.cancel()
        self.interrupt()

    def _add(self, bundle: Bundle) -> str:
        with self._changed:
            same = [name for name, one in self.bundles.items() if one.folder.resolve() == bundle.folder.resolve()]
            name, number = bundle.manifest.name, 1
            while not same and name in self.bundles:
                number += 1
                name = f"{bundle.manifest.name}-{number}"
            name = same[0] if same else name
            self.bundles[name] = bundle
            return name


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
