"""The journal of a run: its request, its progress and its pictures, in the output folder.

run.json holds the request, metadata.jsonl one line per picture in order, and failed.jsonl one line per seed without a
picture. The lines of a chunk are written after its pictures, so a killed run is resumed after the last chunk whose
lines are complete.
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
from engine.files import contents_of, write_json, write_text
from engine.locks import lock_folder
from engine.names import is_class_name
from engine.output.chunks import Chunks

__all__ = [
    "FAILED",
    "METADATA",
    "RUN",
    "Journal",
    "expect_same_run",
    "file_of",
    "previous_identity",
    "read_run",
    "read_usable_folder",
]

RUN, METADATA, FAILED = "run.json", "metadata.jsonl", "failed.jsonl"
UNSTATED = {"shared_noise": True, "clip_skip": 1, "emphasis": "original", "prompt_syntax": 0}
"""Values of an identity that are only stated if they are others, because earlier versions did not state them."""
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[0-9]{6,}\.png\Z|[A-Za-z0-9][A-Za-z0-9_.-]*-[0-9]{6}\.tar(?=/)")


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return the parsed run.json, or None if the file is missing or invalid."""
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return run if isinstance(run["identity"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def previous_identity(folder: Path) -> dict[str, Any] | None:
    """Return the identity of the run in this folder, or None if the folder holds no run."""
    run = read_run(folder)
    return None if run is None else run["identity"]


def file_of(row: Mapping[str, Any]) -> str:
    """Return the picture that a line of metadata.jsonl describes, or the shard with the picture, as a relative path.

    Raises ValueError for a name that no run writes.
    """
    match = FILE.match(str(row.get("file_name")))
    if match is None:
        raise ValueError(f"file_name {row.get('file_name')!r}")
    return match[0]


def expect_same_run(folder: Path, previous: Mapping[str, Any], identity: Mapping[str, Any], fix: str) -> None:
    """Raise RequestError that names the differences, unless the run in the folder equals the requested run."""
    before, wanted = UNSTATED | {**previous}, UNSTATED | {**identity}
    differs = [
        f"{key} {before.get(key)!r} in the existing run, {wanted.get(key)!r} requested"
        for key in sorted({*before, *wanted})
        if before.get(key) != wanted.get(key)
    ]
    if differs:
        raise RequestError(
            f"The output folder {folder}",
            found=f"another run: {'; '.join(differs)}",
            expected="a new folder, or the same request to resume it",
            fix=fix,
        )


def read_usable_folder(folder: Path) -> dict[str, Any] | None:
    """Return the run.json of a folder that a run may be written into, or None if the folder is new or empty.

    Raises RequestError if the path is a file, or if the folder holds files that belong to no run.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(
            f"The output folder {folder}", found="a file", expected="a folder", fix="name another folder with --out"
        )
    # A run that was killed before its first file was whole left nothing but parts.
    others = [path.name for path in contents_of(folder) if path.suffix != ".part"] if folder.exists() else []
    if not others:
        return None
    run = read_run(folder)
    if run is None:
        raise RequestError(
            f"The output folder {folder}",
            found="an unreadable run.json"
            if (folder / RUN).exists()
            else f"files, but no run.json, such as {others[0]}",
            expected="a new or empty folder, or a run of this engine",
            fix="name another folder with --out",
        )
    return run


class Journal:
    """The record of one run in `folder`. Opening checks the folder and changes nothing."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], chunks: Chunks, *, overwrite: bool = False) -> None:
        """identity: what must be equal to resume a run. Raises RequestError if the folder holds another run, or files
        that belong to no run."""
        self.folder, self.identity, self.chunks = folder, identity, chunks
        self._overwrite = overwrite
        self._lock_file: int | None = None
        self._check()

    def _check(self) -> None:
        """Find out whether the run in the folder is resumed or replaced. Raises RequestError."""
        folder, identity = self.folder, self.identity
        self.resumed = self.complete = False
        self._replaced: Mapping[str, Any] | None = None
        run = read_usable_folder(folder)
        if run is None:
            return
        previous = run["identity"]
        if self._overwrite:
            self._replaced = previous
            return
        expect_same_run(
            folder, previous, identity, "name another folder with --out, or replace the run with --overwrite"
        )
        # If a process was killed while it removed the files of an older run, this process removes the rest.
        self._replaced = run.get("replaces") if isinstance(run.get("replaces"), dict) else None
        self.resumed, self.complete = True, run.get("complete") is True

    def start(self) -> int:
        """Prepare the folder for this run. Return how many chunks are done. Raises RequestError or CytosynthError."""
        try:
            return self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = lock_folder(self.folder)
            # Another process may have changed the folder since the first check.
            self._check()
            if self._replaced is not None:
                # From here on the folder belongs to the new run, so that the old run never looks complete after a
                # kill. As long as run.json says "replaces", a resumed run removes the remaining old files.
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
                    expected="free space for the pictures",
                    fix="free some space and run the same command again",
                ) from error
            raise RequestError(
                f"The output folder {self.folder}",
                found=f"not writable ({error.strerror})",
                expected="a folder that can be created and written",
                fix="name another folder with --out, or change the permissions",
            ) from error

    def close(self) -> None:
        """Release the lock of the folder."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _files_of(self, identity: Mapping[str, Any]) -> list[Path]:
        """Return the files of the run in the folder, and no other files.

        These are its sheet, list of shards and Croissant metadata, the files in class folders whose name is an index,
        and the shards that metadata.jsonl lists, including the unfinished one.
        """
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
        """Count the complete chunks, and cut metadata.jsonl and failed.jsonl back to them."""
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
            # Drop the lines of unfinished chunks, and a line that a kill cut off.
            write_text(self.folder / FAILED, "".join(line for chunk, line in failed if chunk < done))
        return done

    def _failed_lines(self) -> list[tuple[int, str]]:
        """Return the chunk of each complete line of failed.jsonl, and the line."""
        path = self.folder / FAILED
        if not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        # splitlines would also split a line at a U+2028 in its prompt.
        lines = text.split("\n")[:-1]
        try:
            return [(int(json.loads(line)["chunk"]), line + "\n") for line in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise CytosynthError(
                f"The record {path}",
                found=f"an invalid line ({error})",
                expected="the lines of this run",
                fix="start again with --overwrite",
            ) from error

    def failed_count(self) -> int:
        """Return how many seeds of the run gave no picture."""
        return len(self._failed_lines())

    def append(self, rows: list[dict[str, Any]], failures: list[dict[str, Any]]) -> None:
        """Add the metadata lines and failure lines of one finished chunk."""
        for name, lines in ((FAILED, failures), (METADATA, rows)):
            if lines:
                with (self.folder / name).open("a", encoding="utf-8") as file:
                    file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def write_run(self, *, complete: bool, **facts: Any) -> None:
        """Write run.json: the identity, and the facts of this machine and time."""
        write_json(self.folder / RUN, {"identity": dict(self.identity), "complete": complete, **facts})
