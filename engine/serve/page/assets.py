"""The scripts and styles of Gradio's page: compressed once, kept by browsers, and asked for early.

Gradio's page asks for about 140 files, in waves: each script says what is needed next. Here the page itself names all
of them in its head, so that a browser asks at once, and the answers come from memory.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import gradio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Assets", "Frontend", "first_kinds", "frontend"]

PREFIX = "/assets/"
HASHED = re.compile(r"[\w.-]*-[\w-]{8}\d?\.(js|css)", re.ASCII)
"""A name with the hash of its content, so that a browser may keep the file."""
KINDS = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
KEEP = "public, max-age=31536000, immutable"
LARGEST = 2**21
"""Bytes up to which a file is kept in memory. Larger ones belong to components that the page does not have."""
EARLY = 2**16
"""Bytes of a script up to which it is asked for early, except the page's own. Larger ones delay the others."""
NAMES = re.compile(r"m\.f=\[(.*?)\]|__vite__mapDeps=[^\[]*\[(.*?)\]", re.DOTALL)
QUOTED = re.compile(r"""["'`](?:\./)?([\w.-]+)["'`]""")
IMPORT = re.compile(
    r"import\([\"'`]\./([\w.-]+)[\"'`]\)(?:(?!import\().){0,80}?__vite__mapDeps\(\[([\d,]*)\]", re.DOTALL
)
"""A script that is imported when it is needed, and the places in NAMES of what it needs itself."""


class Frontend:
    """The files of Gradio's page as its package has them."""

    def __init__(self, folder: Path = Path(gradio.__file__).parent / "templates/frontend") -> None:
        self._folder = folder

    @cached_property
    def names(self) -> frozenset[str]:
        """The files that a browser may keep."""
        folder = self._folder / "assets"
        found = folder.iterdir() if folder.is_dir() else ()
        return frozenset(path.name for path in found if HASHED.fullmatch(path.name) and path.stat().st_size <= LARGEST)

    @cache  # noqa: B019 - there is one object, which lives as long as the server
    def content(self, name: str) -> bytes:
        """Return a file as it is."""
        return (self._folder / "assets" / name).read_bytes()

    @cache  # noqa: B019 - as above
    def packed(self, name: str) -> bytes:
        """Return a file compressed by gzip, when a browser first asks for it."""
        return gzip.compress(self.content(name), 9, mtime=0)

    def needed(self, kinds: Iterable[str]) -> list[str]:
        """Return the files that a page with these kinds of components asks for, the first ones first.

        A version of Gradio that writes its scripts in another form gives fewer names. The page then loads as it does
        without.
        """
        index = self._folder / "index.html"
        html = index.read_text(encoding="utf-8") if index.is_file() else ""
        found = dict.fromkeys(re.findall(r"assets/([\w.-]+\.(?:js|css))", html))
        maps: list[str] = []
        for name in [name for name in found if name.endswith(".js")]:
            for part in self._imports(self._text(name)):
                found |= dict.fromkeys(part)
                maps.append(part[0])
        for name in maps:
            text = self._text(name)
            for kind in kinds:
                for part in self._imports(_entry(text, kind), text):
                    found |= dict.fromkeys(part)
            if name.startswith("Index-"):
                for part in self._imports(text):
                    found |= dict.fromkeys(part if part[0].startswith("Blocks-") else ())
        own = set(re.findall(r"assets/([\w.-]+)", html))
        return [n for n in found if n in self.names and (n in own or len(self.content(n)) <= EARLY)]

    def _text(self, name: str) -> str:
        return self.content(name).decode("utf-8", "replace") if name in self.names else ""

    @staticmethod
    def _imports(text: str, whole: str | None = None) -> list[list[str]]:
        """Return each script that a text imports when it is needed, followed by what that script needs.

        whole: the script that the text is a part of, which holds the names.
        """
        listed = NAMES.search(text if whole is None else whole)
        names = QUOTED.findall(next(filter(None, listed.groups()), "")) if listed else []
        parts = []
        for name, places in IMPORT.findall(text):
            own = [int(place) for place in places.split(",") if place]
            parts.append([name, *(names[place] for place in own if place < len(names))])
        return parts


@cache
def frontend() -> Frontend:
    """Return the files of the installed Gradio, which this process reads and compresses once."""
    return Frontend()


def _entry(text: str, kind: str) -> str:
    """Return the entry of a kind of component in the map of all, which is `kind:{...}`, or nothing."""
    start = re.search(rf"[{{,][\"'`]?{re.escape(kind)}[\"'`]?:\{{", text)
    if start is None:
        return ""
    depth, end = 1, start.end()
    while depth and end < len(text):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[start.end() : end]


def first_kinds(config: Mapping[str, Any]) -> list[str]:
    """Return the kinds of components that a visitor sees first: those outside the tabs, and those of the first tab.

    config: what Gradio tells its page.
    """
    kinds = {one["id"]: str(one["type"]) for one in config["components"]}
    waiting, found = [config["layout"]], set[str]()
    while waiting:
        node = waiting.pop()
        kind, children = kinds.get(node.get("id"), ""), node.get("children") or []
        found.add(kind)
        waiting += children[:1] if kind == "tabs" else children
    return sorted(found - {""})


class Assets:
    """Middleware that answers with the files of the page from memory."""

    def __init__(self, app: ASGIApp, frontend: Frontend) -> None:
        self._app, self._frontend = app, frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for one of these files. All others pass."""
        name = scope["path"].removeprefix(PREFIX) if scope["type"] == "http" else ""
        if name not in self._frontend.names or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        zipped = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        body = self._frontend.packed(name) if zipped else self._frontend.content(name)
        headers = {
            "content-type": KINDS[name.rpartition(".")[2]],
            "content-length": str(len(body)),
            "cache-control": KEEP,
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
            **({"content-encoding": "gzip"} if zipped else {}),
        }
        listed = [(key.encode(), value.encode()) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": listed})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
