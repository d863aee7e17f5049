"""From the fields of a body to the request of pictures, and from the pictures to the answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from engine.bundle.settings import settings_of
from engine.serve.encoding import encoded
from engine.serve.sdapi.answer import JSON, info_of, parameters_of
from engine.serve.sdapi.asked import common_settings, prompts_and_class, refuse, unsupported, with_infotext
from engine.serve.sdapi.errors import words_of
from engine.serve.sdapi.fields import Common, Img2Img, Txt2Img
from engine.serve.sdapi.hires import hires_settings
from engine.serve.sdapi.initial import initial_of
from engine.serve.sdapi.options import Options
from engine.serve.sdapi.tasks import Tasks
from engine.serve.service import Drawing, ServedClass, Service, Ticket

__all__ = ["Draw"]


@dataclass(frozen=True)
class _Asked:
    """A request in the queue, and what its answer needs."""

    ticket: Ticket
    sent: dict[str, Any]
    served: ServedClass
    strength: float | None
    warnings: list[str]
    send_images: bool


class Draw:
    """Draws what the body of txt2img or img2img asks for."""

    def __init__(self, service: Service, options: Options, tasks: Tasks) -> None:
        self._service, self._options, self._tasks = service, options, tasks

    async def __call__(self, fields: Txt2Img | Img2Img) -> JSON:
        """Return the answer as soon as the pictures are drawn. A client that hangs up does not stop its request."""
        asked = await run_in_threadpool(self._ask, fields)
        await asyncio.wrap_future(asked.ticket.future)
        return await run_in_threadpool(self._answer, asked)

    def _ask(self, fields: Common) -> _Asked:
        refuse(fields)
        fields = with_infotext(fields)
        keep = not fields.override_settings_restore_afterwards
        chosen, warnings = self._options.chosen(fields.override_settings, keep=keep)
        prompts, served, found = prompts_and_class(fields, chosen.served, self._service.classes())
        settings, more = common_settings(fields, chosen, prompts)
        warnings += [*unsupported(fields), *found, *more]
        strength, batch = None, fields.batch_size
        request = Drawing(served.bundle, served.name)
        if isinstance(fields, Img2Img):
            start = initial_of(fields, self._service.settings.limits.max_pixels)
            request = replace(request, initial=start.pictures, mask=start.mask)
            own, more, strength, batch = start.settings, start.warnings, fields.denoising_strength, start.batch
        else:
            assert isinstance(fields, Txt2Img)
            own, more = hires_settings(fields, self._service.bundles[served.bundle].manifest.picture_size)
            strength = own.get("hires_strength")
        warnings += more
        asked = settings_of(**settings | own | {"batch_size": batch})
        request = replace(request, n=batch * fields.n_iter, settings=asked)
        ticket = self._service.submit(request, task_id=fields.force_task_id)
        self._tasks.note(ticket.id)
        warnings += map(words_of, ticket.job.warnings)
        sent = fields.model_dump()
        if isinstance(fields, Img2Img) and not fields.include_init_images:
            sent |= {"init_images": None, "mask": None}
        return _Asked(ticket, sent, served, strength, warnings, fields.send_images)

    def _answer(self, asked: _Asked) -> JSON:
        ticket, warnings = asked.ticket, list(asked.warnings)
        half = sum("interrupted_after" in picture.description for picture in ticket.pictures)
        if ticket.interrupted or ticket.skipped:
            whole, kind = len(ticket.pictures) - half, "interrupted" if ticket.interrupted else "skipped"
            warnings.append(f"{kind}: {whole} of {ticket.request.n} pictures were finished, {half} are half-drawn")
        warnings += [f"seed {seed} gave no picture: {reason}" for seed, reason in ticket.failures.items()]
        info = info_of(ticket, asked.served, asked.strength, warnings)
        return JSON(
            {
                "images": [encoded(picture.png) for picture in ticket.pictures] if asked.send_images else [],
                "parameters": parameters_of(asked.sent, ticket),
                "info": json.dumps(info),
                "warnings": warnings,
            }
        )
