"""All routes of the API of AUTOMATIC1111's WebUI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from pydantic import JsonValue

from engine.serve.encoding import encoded
from engine.serve.sdapi.answer import JSON, Pictures
from engine.serve.sdapi.docs import docs_page
from engine.serve.sdapi.drawing import Draw
from engine.serve.sdapi.enlarge import enlarged, unsupported_extras
from engine.serve.sdapi.errors import ApiError, add_errors
from engine.serve.sdapi.fields import ExtraBatch, ExtraImage, Extras, Img2Img, PngInfo, TaskProgress, Txt2Img
from engine.serve.sdapi.lists import lists_of
from engine.serve.sdapi.options import Options
from engine.serve.sdapi.pictures import picture_bytes
from engine.serve.sdapi.png_info import png_info
from engine.serve.sdapi.progress import pending_tasks, progress_of, progress_of_task
from engine.serve.sdapi.tasks import Tasks
from engine.serve.service import Service

__all__ = ["add_sdapi"]

PREFIX = "/sdapi/v1"


def add_sdapi(app: FastAPI, service: Service, options: Options) -> None:
    """Add the routes to an application, and the shape of their errors."""
    tasks = Tasks()
    add_errors(app)
    # Each router has its prefix, because the metrics name a route as its router does.
    for router in (
        _drawing(Draw(service, options, tasks)),
        _settings(service, options),
        _running(service),
        _pictures(service),
    ):
        app.include_router(router)
    app.include_router(_beside(app, service, tasks))


def _drawing(draw: Draw) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["pictures"])

    @router.post("/txt2img", response_model=Pictures)
    async def txt2img(fields: Txt2Img) -> JSON:
        """Draw pictures from noise."""
        return await draw(fields)

    @router.post("/img2img", response_model=Pictures)
    async def img2img(fields: Img2Img) -> JSON:
        """Draw pictures that vary others, or repaint a part of them."""
        return await draw(fields)

    return router


def _settings(service: Service, options: Options) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["settings"])

    @router.get("/options")
    def get_options() -> dict[str, Any]:
        """Return all options."""
        return options.all()

    @router.post("/options")
    def set_options(values: dict[str, JsonValue]) -> None:
        """Set options. Those that stay as they are may be sent, too."""
        options.change(values)

    @router.post("/refresh-checkpoints")
    async def refresh() -> None:
        """Do nothing: the list is always the latest."""

    @router.post("/interrogate")
    async def interrogate() -> None:
        """Refuse: there is no model that describes pictures."""
        raise ApiError(404, "Model not found")

    for name, make in lists_of(service).items():
        router.add_api_route(f"/{name}", make, methods=["GET"], response_model=None, name=name)
    return router


def _running(service: Service) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["progress"])

    @router.get("/progress")
    def progress(skip_current_image: bool = False) -> dict[str, Any]:
        """Return how far the running request is."""
        return progress_of(service, picture=not skip_current_image)

    @router.post("/interrupt")
    def interrupt() -> dict[str, Any]:
        """End the running request with its pictures as they are now, half-drawn ones included."""
        service.interrupt()
        return {}

    @router.post("/skip")
    def skip() -> None:
        """End the pictures that are being drawn as they are now, and go on with the next ones of the request."""
        service.skip()

    return router


def _pictures(service: Service) -> APIRouter:
    router, max_pixels = APIRouter(prefix=PREFIX, tags=["pictures"]), service.settings.limits.max_pixels

    def enlarge(text: str, name: str, fields: Extras) -> str:
        with service.upload(picture_bytes(text, name, max_pixels)) as path:
            return encoded(enlarged(path, fields, max_pixels))

    @router.post("/png-info")
    def info(fields: PngInfo) -> JSON:
        """Return what a picture states about itself."""
        return JSON(png_info(fields.image, max_pixels))

    @router.post("/extra-single-image")
    def extra_single(fields: ExtraImage) -> JSON:
        """Enlarge a picture."""
        warnings = unsupported_extras(fields)
        image = enlarge(fields.image, "image", fields)
        return JSON({"image": image, "html_info": "; ".join(warnings), "warnings": warnings})

    @router.post("/extra-batch-images")
    def extra_batch(fields: ExtraBatch) -> JSON:
        """Enlarge pictures."""
        most = service.settings.limits.max_pictures
        if len(fields.imageList) > most:
            raise ApiError(422, f"imageList: {len(fields.imageList)} pictures, but at most {most} are taken.")
        warnings = unsupported_extras(fields)
        images = [enlarge(one.data, f"imageList[{i}].data", fields) for i, one in enumerate(fields.imageList)]
        return JSON({"images": images, "html_info": "; ".join(warnings), "warnings": warnings})

    return router


def _beside(app: FastAPI, service: Service, tasks: Tasks) -> APIRouter:
    """Return the routes outside the prefix."""
    router = APIRouter()

    @router.get("/queue/status", tags=["progress"])
    def queue_status() -> dict[str, Any]:
        """Return the length of the queue. A client tests its connection with this."""
        return {"msg": "estimation", "queue_size": pending_tasks(service)["size"]}

    @router.get("/internal/ping", tags=["progress"])
    async def ping() -> dict[str, Any]:
        """Answer, so that a client knows that the server lives."""
        return {}

    @router.get("/internal/pending-tasks", tags=["progress"])
    def pending() -> dict[str, Any]:
        """Return the ids of the requests that wait."""
        return pending_tasks(service)

    @router.post("/internal/progress", tags=["progress"])
    def task_progress(fields: TaskProgress) -> dict[str, Any]:
        """Return how far a request is, by its task id."""
        seen = fields.id_live_preview if fields.live_preview else None
        return progress_of_task(service, tasks, fields.id_task, seen=seen)

    @router.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        """Show the API."""
        return HTMLResponse(docs_page(app.openapi()))

    return router
