"""Settings of `engine serve`, declared once for the command line and the Python library."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from engine.bundle.settings import HardwareSettings
from engine.options import Range, Without, check_within, setting

__all__ = ["LimitSettings", "ServeSettings"]


@dataclass(frozen=True)
class LimitSettings:
    """What a single client may ask for, and what the server holds at most."""

    PANEL: ClassVar[str] = "Limits"

    queue: int = setting(64, within=Range(1, 10_000), help="Requests that may wait. Further ones get 503, try later.")
    max_pictures: int = setting(64, within=Range(1, 4096), help="Pictures per request.")
    max_pixels: int = setting(2**24, within=Range(2**6, 2**28), help="Pixels per picture, sent or drawn.")
    max_body: int = setting(64, within=Range(1, 4096), help="Megabytes per request body.")
    batch: int = setting(
        16, within=Range(1, 1024), help="Pictures of waiting requests with equal settings that are drawn together."
    )
    jobs: int = setting(100, within=Range(1, 10_000), help="Jobs that run or wait. Further ones get 503, try later.")
    job_pictures: int = setting(100_000, within=Range(1, 10**9), help="Pictures per job.")
    models: int = setting(4, within=Range(1, 1024), help="Open models. The one that was used longest ago is closed.")

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise RequestError if a picture of this width and height has too many pixels."""
        check_within("The picture's number of pixels", size[0] * size[1], Range(1, self.max_pixels))


@dataclass(frozen=True)
class ServeSettings:
    """What is served, to whom, and where its data lies."""

    PANEL: ClassVar[str] = "Server"

    bundle: list[str] | None = setting(
        None, help="Name of an embedded bundle, or path of a bundle's folder (default: cells). May be repeated."
    )
    host: str = setting(
        "127.0.0.1", help="Address to listen on. One that other machines can reach needs --auth or --no-auth."
    )
    port: int = setting(7860, within=Range(0, 65535), help="Port to listen on; 0 chooses a free one.")
    served_as: list[str] | None = setting(
        None, metavar="NAME", help="Further name of this server, such as that of a proxy. May be repeated."
    )
    auth: Path | None = setting(None, metavar="FILE", help="File of user names and hashed passwords.")
    no_auth: bool = setting(False, flag="--no-auth", help="Serve another host than this machine without passwords.")
    cors: list[str] | None = setting(
        None, metavar="ORIGIN", help="Origin of web pages that may use the API, or * for all. May be repeated."
    )
    data: Path = setting(
        Path("served"), metavar="DIR", help="Folder for jobs and uploaded pictures. Only its owner may read it."
    )
    limits: LimitSettings = field(default_factory=LimitSettings)
    hardware: Annotated[HardwareSettings, Without("batch_size")] = field(default_factory=HardwareSettings)

    @property
    def bundles(self) -> list[str]:
        """The bundles that are served."""
        return self.bundle or ["cells"]
