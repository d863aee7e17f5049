"""A run's folder: whose it is, how far it came, and what its pictures are.

run.json holds the request; metadata.jsonl one line a picture, in order; failed.jsonl one line a seed that gave none.
A chunk's lines are written after its pictures, so a killed run goes on after the last chunk whose lines are whole.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import CytosynthError, RequestError
from engine.files import write_json, write_text
from engine.names import is_class_name
from engine.output.chunks import Chunks

try:
    import fcntl
except ImportError:  # Windows has no such lock.
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "FAILED",
    "METADATA",
    "RUN",
    "Journal",
    "expect_same_run",
    "file_of",
    "lock_folder",
    "previous_identity",
    "read_run",
]

RUN, METADATA, FAILED = "run.json", "metadata.jsonl", "failed.jsonl"
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[0-9]{6,}\.png\Z|[A-Za-z0-9][A-Za-z0-9_.-]*-[0-9]{6}\.tar(?=/)")


def read_run(folder: Path) -> dict[str, Any] | None:
    """The folder's run.json, or None where it is none."""
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return run if isinstance(run["identity"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def previous_identity(folder: Path) -> dict[str, Any] | None:
    """The identity of the run in this folder, if there is one."""
    run = read_run(folder)
    return None if run is None else run["identity"]


def file_of(row: Mapping[str, Any]) -> str:
    """The picture, or the shard with it, that a line of metadata.jsonl speaks of, below the run's folder. Raises
    ValueError where that is none that a run writes."""
    match = FILE.match(str(row.get("file_name")))
    if match is None:
        raise ValueError(f"file_name {row.get('file_name')!r}")
    return match[0]


def expect_same_run(folder: Path, previous: Mapping[str, Any], identity: Mapping[str, Any], fix: str) -> None:
    """Raise RequestError, which names what differs, unless the run in the folder is the one that is asked for."""
    differs = [
        f"{key} {previous.get(key)!r} there, {identity.get(key)!r} asked"
        for key in sorted({*previous, *identity})
        if previous.get(key) != identity.get(key)
    ]
    if differs:
        raise RequestError(
            f"The output folder {folder}",
            found=f"another run: {'; '.join(differs)}",
            expected="a new folder, or the same request to continue it",
            fix=fix,
        )


def lock_folder(folder: Path) -> int | None:
    """Keep other processes out of a folder until the file descriptor that is returned is closed. Raises RequestError
    where one is in. None on systems without such locks."""
    if fcntl is None:
        return None
    lock_file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_file)
        raise RequestError(
            f"The output folder {folder}",
            found="another process that is writing into it",
            expected="one at a time",
            fix="wait for it, or name another folder with --out",
        ) from None
    return lock_file


class Journal:
    """The record of one run in `folder`. Opening checks the folder and touches nothing in it."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], chunks: Chunks, *, overwrite: bool = False) -> None:
        """identity: what must be equal for a run to be continued. Raises RequestError where the folder holds
        another run, or anything that is no run of ours."""
        self.folder, self.identity, self.chunks = folder, identity, chunks
        self._overwrite = overwrite
        self._lock_file: int | None = None
        self._check()

    def _check(self) -> None:
        """Whose the folder is, and whether its run is continued or replaced. Raises RequestError."""
        folder, identity = self.folder, self.identity
        self.resumed = self.complete = False
        self._replaced: Mapping[str, Any] | None = None
        if folder.exists() and not folder.is_dir():
            raise RequestError(
                f"The output folder {folder}", found="a file", expected="a folder", fix="name another with --out"
            )
        if not folder.exists() or not any(path.suffix != ".part" for path in folder.iterdir()):
            # A run that was killed before its first file was whole left nothing but parts.
            return
        run = self._expect_a_run()
        previous = run["identity"]
        if self._overwrite:
            self._replaced = previous
            return
        expect_same_run(folder, previous, identity, "name another with --out, or replace that run with --overwrite")
        # A kill while an older run's files were being removed leaves that to this one.
        self._replaced = run.get("replaces") if isinstance(run.get("replaces"), dict) else None
        self.resumed, self.complete = True, run.get("complete") is True

    def _expect_a_run(self) -> dict[str, Any]:
        run = read_run(self.folder)
        if run is None:
            there = (self.folder / RUN).exists()
            raise RequestError(
                f"The output folder {self.folder}",
                found="an unreadable run.json" if there else "files, but no run.json",
                expected="a new or empty folder, or a run of this engine",
                fix="name another with --out",
            )
        return run

    def start(self) -> int:
        """Make the folder this run's own; returns how many chunks are done. Raises RequestError where it cannot."""
        try:
            return self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_folder(self.folder)
            # Another process may have changed it since it was looked at.
            self._check()
            if self._replaced is not None:
                # From here on the folder is the new run's, so that no kill leaves the old one looking whole; and as
                # long as this stands in run.json, whoever continues removes the rest.
                self.write_run(complete=False, replaces=dict(self._replaced))
                for path in self._files_of(self._replaced):
                    path.unlink()
            elif self.resumed:
                return self._resume()
            write_text(self.folder / METADATA, "")
            (self.folder / FAILED).unlink(missing_ok=True)
            self.write_run(complete=False)
            return self.chunks.first
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CytosynthError(
                    f"The output folder {self.folder}",
                    found=str(error.strerror),
                    expected="room for the pictures",
                    fix="make room, then the same command goes on",
                ) from error
            raise RequestError(
                f"The output folder {self.folder}",
                found=f"not writable ({error.strerror})",
                expected="a folder that can be made and written",
                fix="name another with --out, or change its permissions",
            ) from error

    def close(self) -> None:
        """Let others in."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _files_of(self, identity: Mapping[str, Any]) -> list[Path]:
        """The files of the run that stands here and nothing else: its sheet, shard list and Croissant metadata, a class
        folder's files that are named by their index alone, and the shards that metadata.jsonl speaks of, the
        unfinished one included."""
        found = [
            path for name in ("sheet.png", "_info.json", "croissant.json") if (path := self.folder / name).is_file()
        ]
        names = identity.get("class_names")
        for name in names if isinstance(names, list) else []:
            if isinstance(name, str) and is_class_name(name):
                pictures = (self.folder / name).glob("*.png*")
                found += [path for path in pictures if re.fullmatch(r"\d{6,}\.png(\.part)?", path.name)]
        stems = set()
        if (self.folder / METADATA).exists():
            with (self.folder / METADATA).open(encoding="utf-8", errors="replace") as file:
                matches = (re.search(r'"file_name": "([A-Za-z0-9_-]+)-\d{6}\.tar/', line) for line in file)
                stems = {match[1] for match in matches if match}
        for path in self.folder.iterdir():
            shard = re.fullmatch(r"(.+)-\d{6}\.tar(\.part)?", path.name)
            if shard and shard[1] in stems:
                found.append(path)
        return found

    def _resume(self) -> int:
        """Count the whole chunks and cut both files back to them."""
        failed = self._failed_lines()
        failures = Counter(chunk for chunk, _ in failed)
        path = self.folder / METADATA
        done, offset = self.chunks.first, 0
        if path.exists():
            with path.open("rb") as file:
                while done < self.chunks.stop:
                    lines = [file.readline() for _ in range(self.chunks.size(done) - failures[done])]
                    if not all(line.endswith(b"\n") for line in lines):
                        break
                    offset += sum(map(len, lines))
                    done += 1
            os.truncate(path, offset)
        else:
            write_text(path, "")
        if (self.folder / FAILED).exists():
            # Without the lines of undone chunks, and without one that a kill tore.
            write_text(self.folder / FAILED, "".join(line for chunk, line in failed if chunk < done))
        return done

    def _failed_lines(self) -> list[tuple[int, str]]:
        """The chunk of each whole line of failed.jsonl, and the line."""
        path = self.folder / FAILED
        if not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        # splitlines would cut a line at a U+2028 in its prompt too.
        lines = text.split("\n")[:-1]
        try:
            return [(int(json.loads(line)["chunk"]), line + "\n") for line in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise CytosynthError(
                f"The record {path}",
                found=f"a line that is none ({error})",
                expected="the lines of this run",
                fix="start anew with --overwrite",
            ) from error

    def failed_count(self) -> int:
        """How many seeds of the run gave no picture."""
        return len(self._failed_lines())

    def append(self, rows: list[dict[str, Any]], failures: list[dict[str, Any]]) -> None:
        """Add the lines of one finished chunk: its pictures', and its seeds' that gave none."""
        for name, lines in ((FAILED, failures), (METADATA, rows)):
            if lines:
                with (self.folder / name).open("a", encoding="utf-8") as file:
                    file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def write_run(self, *, complete: bool, **facts: Any) -> None:
        """Write run.json: the identity, and the facts of this machine and time."""
        write_json(self.folder / RUN, {"identity": dict(self.identity), "complete": complete, **facts})
