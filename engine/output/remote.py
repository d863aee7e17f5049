"""A run into an fsspec URL: written into a folder of the user's cache, and uploaded file by file when final."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.cache import cache_folder
from engine.errors import CytosynthError, RequestError, first_line
from engine.locks import lock_folder
from engine.output.croissant import CROISSANT
from engine.output.journal import FAILED, METADATA, RUN, file_of, previous_identity
from engine.output.sheet import SHEET

__all__ = ["Remote", "open_remote"]

RECORD = (METADATA, FAILED, CROISSANT, SHEET, RUN)
"""The files that describe other files. They are uploaded after the other files, in this order."""


@contextmanager
def open_remote(url: str) -> Iterator[Remote]:
    """Yield the local folder for a run into `url`. It holds the run to resume, which the URL's run.json names.

    Raises RequestError if the URL cannot be reached or holds files that belong to no run, or if another process of this
    machine writes to the URL.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise RequestError(
            f"--out {_without_password(url)}",
            found="the package fsspec is not installed",
            expected="fsspec",
            fix="pip install 'cytosynth[distributed]'",
        ) from error
    cache = cache_folder(f"uploads/{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:32]}")
    if cache is None:
        raise RequestError(
            f"--out {_without_password(url)}",
            found="no writable cache folder",
            expected="a folder for files that wait for their upload",
            fix="name another cache folder with XDG_CACHE_HOME",
        )
    lock = lock_folder(cache)
    try:
        with _reaching(url, RequestError, "check the address, its package and its credentials"):
            file_system, root = url_to_fs(url.rstrip("/"))
            remote = Remote(url, file_system, root, cache / "run")
            remote.recall()
        try:
            yield remote
        except RequestError as error:
            if str(remote.folder) not in error.subject:
                raise
            # Name the URL instead of the local folder, which the user does not know.
            expected, fix = error.expected.replace("folder", "place"), "name another URL with --out"
            raise RequestError(f"The URL {remote.url}", found=error.found, expected=expected, fix=fix) from error
        finally:
            remote.close()
    finally:
        if lock is not None:
            os.close(lock)


def _without_password(text: str) -> str:
    """Return a URL, or an error text that repeats a URL, without its password.

    A password may contain any letter, so everything up to the last @ is removed.
    """
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", text)


@contextmanager
def _reaching(url: str, kind: type[CytosynthError], fix: str) -> Iterator[None]:
    try:
        yield
    except CytosynthError:
        raise
    except Exception as error:  # every file system raises its own exceptions
        raise kind(
            f"The URL {_without_password(url)}",
            found=_without_password(first_line(error)),
            expected="a place that fsspec can read and write",
            fix=fix,
        ) from error


class Remote:
    """A URL, and the local `folder` in which the run is written.

    `follow` uploads final files in another thread, and `finish` uploads the remaining files.
    """

    def __init__(self, url: str, file_system: Any, root: str, folder: Path) -> None:
        self.url, self.folder = _without_password(url), folder
        self._file_system, self._root = file_system, root
        self._sizes: dict[str, int] = {}
        self._folders: set[str] = set()
        self._thread = ThreadPoolExecutor(1)
        self._puts: list[Future[None]] = []
        self._read, self._current = 0, ""

    def recall(self) -> None:
        """Prepare the local folder as the URL says: for the run to resume, the record of a finished run, or nothing.

        Raises RequestError if the URL holds files that belong to no run.
        """
        self._sizes = self._list()
        there = RUN in self._sizes
        if self._sizes and not there:
            raise RequestError(
                f"The URL {self.url}",
                found="files, but no run.json",
                expected="an empty place, or a run of this engine",
                fix="name another URL with --out",
            )
        identity = self._identity() if there else None
        if identity is None or identity != previous_identity(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            for name in RECORD:
                if name in self._sizes:
                    self._file_system.get_file(f"{self._root}/{name}", str(self.folder / name))

    def _identity(self) -> Any:
        try:
            return json.loads(self._file_system.cat_file(f"{self._root}/{RUN}"))["identity"]
        except (ValueError, KeyError, TypeError):
            return None

    def _list(self) -> dict[str, int]:
        """Return the sizes in bytes of the files at the URL."""
        self._file_system.invalidate_cache()
        found = self._file_system.find(self._root, detail=True)
        return {path[len(self._root) + 1 :]: int(entry["size"]) for path, entry in found.items()}

    def follow(self) -> None:
        """Upload the files that are final. Call this method after chunks were written.

        A run.json is uploaded first, because it marks the URL as that of this run. Raises CytosynthError for a failed
        upload.
        """
        done = [future for future in self._puts if future.done()]
        self._puts = [future for future in self._puts if future not in done]
        self._expect_puts(done)
        if RUN not in self._sizes:
            self._expect_puts([self._thread.submit(self._put, [RUN])])
        self._puts.append(self._thread.submit(self._put, self._final_files()))

    def _final_files(self) -> list[str]:
        """Return the new final files. A file is final when metadata.jsonl lists a later file."""
        found = []
        with (self.folder / METADATA).open("rb") as file:
            file.seek(self._read)
            for line in file:
                name = self._named(line)
                if self._current not in ("", name):
                    found.append(self._current)
                self._current = name
            self._read = file.tell()
        return found

    def _named(self, line: bytes) -> str:
        try:
            return file_of(json.loads(line))
        except (ValueError, AttributeError, RecursionError) as error:
            raise CytosynthError(
                f"{METADATA} of {self.url}",
                found=first_line(error),
                expected="the lines that `engine generate` wrote",
                fix="make the run again at another URL",
            ) from error

    def _put(self, names: Iterable[str]) -> None:
        """Upload the files that the URL lacks, or holds in another size."""
        sizes = {name: path.stat().st_size for name in names if (path := self.folder / name).is_file()}
        wanted = {name: size for name, size in sizes.items() if self._sizes.get(name) != size}
        for parent in {name.rpartition("/")[0] for name in wanted} - self._folders:
            self._file_system.makedirs(f"{self._root}/{parent}".rstrip("/"), exist_ok=True)
            self._folders.add(parent)
        if wanted:
            here, there = [str(self.folder / name) for name in wanted], [f"{self._root}/{name}" for name in wanted]
            self._file_system.put(here, there)
            self._sizes.update(wanted)

    def _expect_puts(self, futures: Iterable[Future[None]]) -> None:
        with _reaching(self.url, CytosynthError, "run the same command again when the URL can be reached"):
            for future in futures:
                future.result()

    def finish(self) -> None:
        """Upload the remaining files of a complete run, its record last, and remove the local folder.

        Raises CytosynthError if the URL does not hold every file afterwards.
        """
        self._expect_puts(self._puts)
        self._expect_puts([self._thread.submit(self._put_rest)])
        shutil.rmtree(self.folder)

    def _put_rest(self) -> None:
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".part"]
        sizes = {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}
        files = sizes.keys() - set(RECORD)
        self._sizes = self._list()
        self._put(files)
        self._sizes = self._list()
        missing = sorted(name for name in files if self._sizes.get(name) != sizes[name])
        if missing:
            raise CytosynthError(
                f"The URL {self.url}",
                found=f"{len(missing)} files are missing or have another size, for example {missing[0]}",
                expected="every file that was uploaded",
                fix="run the same command again to upload the files",
            )
        self._sizes = {}
        for name in RECORD:
            self._put([name])

    def close(self) -> None:
        """Finish the upload that is running, and drop waiting uploads."""
        self._thread.shutdown(cancel_futures=True)
