"""`engine merge-runs`: join the pieces of a run into the run that one process would have written."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from engine.errors import RequestError, first_line
from engine.files import contents_of, write_json, write_text
from engine.locks import lock_folder
from engine.names import is_class_name
from engine.output.chunks import PIECES, Chunks, Piece, parse_piece
from engine.output.croissant import write_croissant
from engine.output.formats import WebDataset
from engine.output.journal import FAILED, METADATA, RUN, expect_same_run, previous_identity, read_run
from engine.output.sheet import SHEET, write_sheet
from engine.progress import Progress, silent

__all__ = ["MergedRun", "merge_runs"]

Row = dict[str, Any]

JOINED = f"{PIECES}.joined"
"""Name of pieces/ during its removal, so that after a kill no remaining part looks like pieces to join."""


@dataclass(frozen=True)
class MergedRun:
    """The result of a merge: numbers of pieces, of pictures and of failed seeds, and the contact sheet."""

    pieces: int
    total: int
    failed: int
    sheet: Path | None


@dataclass(frozen=True)
class _Part:
    """A finished piece: its lines of metadata as text and parsed."""

    folder: Path
    piece: Piece
    run: Row
    lines: list[str]
    rows: list[Row]
    failed: list[str]
    failed_seeds: frozenset[tuple[str, int]]
    """Class and seed of each failed picture."""


def merge_runs(out: Path, progress: Progress = silent) -> MergedRun:
    """Join the pieces in `out/pieces` into `out`.

    Before a file is moved, everything is checked: each piece exists, is complete and belongs to the same run, and each
    picture exists once or is listed as failed. Calling this function again resumes a killed merge, or returns the
    result of a finished one. Raises RequestError.
    """
    if not out.is_dir():
        raise _no_pieces(out)
    lock_file = lock_folder(out)
    try:
        return _joined_before(out) or _join(out, progress)
    finally:
        if lock_file is not None:
            os.close(lock_file)


def _joined_before(out: Path) -> MergedRun | None:
    """Return the result of an earlier merge if nothing is left to join, otherwise None."""
    if (out / JOINED).exists():
        shutil.rmtree(out / JOINED)
    run = read_run(out)
    if (out / PIECES).exists() or run is None or type(run.get("pieces")) is not int:
        return None
    sheet = out / SHEET
    return MergedRun(run["pieces"], run["pictures_in_this_call"], run["failed"], sheet if sheet.exists() else None)


def _join(out: Path, progress: Progress) -> MergedRun:
    identity, parts = _open_parts(out)
    if (previous := previous_identity(out)) is not None:
        expect_same_run(out, previous, identity, f"move {PIECES}/ into another folder, and name that folder")
    bundle = _bundle_name(parts) if identity["format"] == "webdataset" else None
    _expect_each_picture_once(out, identity, parts, bundle)
    if bundle is None:
        _move_pictures(out, parts, progress)
    else:
        _rewrite_shards(out, identity, parts, bundle, progress)
    failed = [line for part in parts for line in part.failed]
    if failed:
        write_text(out / FAILED, "".join(failed))
    total = sum(len(part.rows) for part in parts)
    write_text(out / METADATA, "".join(line for part in parts for line in part.lines))
    seconds = round(sum(part.run["seconds"] for part in parts), 3)
    write_json(
        out / RUN,
        {
            "identity": identity,
            "complete": True,
            "seconds": seconds,
            "pictures_in_this_call": total,
            "failed": len(failed),
            "pieces": len(parts),
            "versions": parts[0].run["versions"],
        },
    )
    sheet = None
    if total:
        write_croissant(out)
        sheet = write_sheet(out)
    os.replace(out / PIECES, out / JOINED)
    shutil.rmtree(out / JOINED)
    return MergedRun(len(parts), total, len(failed), sheet)


def _wrong(subject: Path, found: str, expected: str, fix: str) -> RequestError:
    return RequestError(f"The run {subject}", found=found, expected=expected, fix=fix)


def _no_pieces(out: Path) -> RequestError:
    return _wrong(out, f"no folder {PIECES}/", "pieces that generate --shard made", "name the folder given with --out")


def _open_parts(out: Path) -> tuple[Row, list[_Part]]:
    """Return the identity of the run, and its pieces in order."""
    folders = [path for path in contents_of(out / PIECES) if path.is_dir()] if (out / PIECES).is_dir() else []
    runs = {folder: read_run(folder) for folder in folders}
    if not folders:
        raise _no_pieces(out)
    identities, pieces = [], []
    for folder, run in runs.items():
        shard = None if run is None else run["identity"].get("shard")
        if run is None or run.get("complete") is not True or not isinstance(shard, str):
            found = "no readable run.json" if run is None else "a piece that is not finished"
            raise _wrong(folder, found, "a finished piece", "run the command of this piece again to finish it")
        if type(run.get("seconds")) not in (int, float) or not isinstance(run.get("versions"), dict):
            found = "a run.json without its seconds or versions"
            raise _wrong(folder, found, "a run.json that generate wrote", "make the piece again")
        piece = parse_piece(shard)
        if piece.folder(out) != folder:
            raise _wrong(
                folder,
                f"piece {shard}",
                "the piece that the name of the folder states",
                "restore the name of the folder",
            )
        identities.append(_checked_identity(folder, run))
        pieces.append(piece)
    others = [folder for folder, identity in zip(folders, identities, strict=True) if identity != identities[0]]
    if others or len({piece.of for piece in pieces}) > 1:
        what = others[0] if others else folders[-1]
        raise _wrong(
            what,
            "a piece of another run",
            f"a piece of the run of {folders[0]}",
            "make all pieces with the same options",
        )
    missing = sorted({*range(1, pieces[0].of + 1)} - {piece.number for piece in pieces})
    if missing:
        words = ", ".join(str(Piece(number, pieces[0].of)) for number in missing[:5])
        raise _wrong(
            out, f"{len(pieces)} pieces; missing {words}", f"all {pieces[0].of}", "make them with generate --shard"
        )
    matched = zip(pieces, runs.items(), strict=True)
    return identities[0], [_read_part(folder, piece, run) for piece, (folder, run) in matched if run is not None]


def _read_part(folder: Path, piece: Piece, run: Row) -> _Part:
    try:
        lines, rows = _read_lines(folder / METADATA)
        failed, failures = _read_lines(folder / FAILED) if (folder / FAILED).exists() else ([], [])
        if not all(isinstance(row.get("class"), str) and type(row.get("seed")) is int for row in failures):
            raise ValueError(f"a line of {FAILED} without class or seed")
        seeds = frozenset((row["class"], row["seed"]) for row in failures)
        return _Part(folder, piece, run, lines, rows, failed, seeds)
    except (OSError, ValueError, RecursionError) as error:
        words = f"a readable {METADATA} and {FAILED}"
        raise _wrong(folder, first_line(error), words, "make the piece again") from error


def _read_lines(path: Path) -> tuple[list[str], list[Row]]:
    """Return the lines as text and parsed. Raises ValueError for a line that is no JSON object."""
    # Unlike splitlines, reading a file does not split a line at a U+2028 in its prompt.
    with path.open(encoding="utf-8") as file:
        lines = list(file)
    rows = [json.loads(line) for line in lines]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"a line of {path.name} that is no JSON object")
    return lines, rows


def _checked_identity(folder: Path, run: Row) -> Row:
    """Return the identity of the run without its piece.

    The identity becomes paths, so every field that is used is checked. Raises RequestError.
    """
    identity = {key: value for key, value in run["identity"].items() if key != "shard"}
    names, counts = identity.get("class_names"), identity.get("counts")
    whole = (identity.get("seed"), identity.get("batch_size"), *(counts if isinstance(counts, list) else [None]))
    known = (
        isinstance(names, list)
        and isinstance(counts, list)
        and len(names) == len(counts) == len({*map(str, names)})
        and all(isinstance(name, str) and is_class_name(name) for name in names)
        and all(type(value) is int and value >= 0 for value in whole)
        and identity["batch_size"] > 0
        and (identity.get("format") == "imagefolder" or type(identity.get("shard_pictures")) is int)
    )
    if not known:
        raise _wrong(
            folder, "a run.json that describes no run", "a run.json that generate wrote", "make the piece again"
        )
    return identity


def _bundle_name(parts: list[_Part]) -> str:
    """Return the beginning of the names of the shards."""
    first = next((str(row.get("file_name")) for part in parts for row in part.rows), "cells-000000.tar/")
    found = re.fullmatch(r"(.+)-\d{6}\.tar/.*", first)
    if not found or not is_class_name(found[1]):
        raise _wrong(parts[0].folder, f"the file name {first!r}", "the name of a shard", "make the piece again")
    return found[1]


def _expect_each_picture_once(out: Path, identity: Row, parts: list[_Part], bundle: str | None) -> None:
    """Raise RequestError unless each picture of the run is listed once and in order, and its file exists.

    A picture is listed in metadata.jsonl or in failed.jsonl.
    """
    pictures = _pictures(identity)
    for part in parts:
        own = Chunks(identity["counts"], identity["batch_size"], part.piece)
        rows = iter(part.rows)
        for ordinal, name, index in islice(pictures, own.done_here(own.stop)):
            if (name, identity["seed"] + index) in part.failed_seeds:
                continue
            expected = f"{name}/{index:06d}.png"
            if bundle is not None:
                shard = ordinal // identity["shard_pictures"]
                expected = f"{bundle}-{shard:06d}.tar/{name}_{index:06d}.png"
            row, seed = next(rows, {}), identity["seed"] + index
            if [row.get(key) for key in ("file_name", "class", "seed")] != [expected, name, seed]:
                found = f"{row.get('file_name', 'nothing')} of seed {row.get('seed')} in its metadata.jsonl"
                words = f"{expected} of seed {seed}: each picture once, in the order of the run"
                raise _wrong(part.folder, found, words, "make the piece again")
            if bundle is None and not (part.folder / expected).is_file() and not (out / expected).is_file():
                raise _wrong(
                    part.folder, f"no {expected}", "the pictures of its metadata.jsonl", "make the piece again"
                )
        if more := next(rows, None):
            raise _wrong(
                part.folder,
                f"the additional picture {more.get('file_name')}",
                "only pictures of this piece",
                "make the piece again",
            )


def _pictures(identity: Row) -> Iterator[tuple[int, str, int]]:
    """Yield (index in the run, class, index in the class) of every picture."""
    names = zip(identity["class_names"], identity["counts"], strict=True)
    return ((ordinal, *one) for ordinal, one in enumerate((name, index) for name, n in names for index in range(n)))


def _move_pictures(out: Path, parts: list[_Part], progress: Progress) -> None:
    total, done = sum(len(part.rows) for part in parts), 0
    for part in parts:
        for name in {row["class"] for row in part.rows}:
            (out / name).mkdir(exist_ok=True)
        for row in part.rows:
            # A missing file was already moved by a merge that was killed.
            with suppress(FileNotFoundError):
                os.replace(part.folder / row["file_name"], out / row["file_name"])
            done += 1
            progress("joining", done, total)


def _rewrite_shards(out: Path, identity: Row, parts: list[_Part], bundle: str, progress: Progress) -> None:
    """Write the shards of the run again, because a piece may end inside a shard."""
    labels = {name: label for label, name in enumerate(identity["class_names"])}
    before = [0, *accumulate(identity["counts"])]
    total, done = sum(len(part.rows) for part in parts), 0
    with WebDataset(out, bundle, per_shard=identity["shard_pictures"], done=0, written={}) as writer:
        for part in parts:
            for row, png in zip(part.rows, _pngs(part), strict=True):
                label, index = labels[row["class"]], row["seed"] - identity["seed"]
                description = {key: value for key, value in row.items() if key != "file_name"}
                writer.write(before[label] + index, index, label, png, description)
                done += 1
                progress("joining", done, total)
        writer.finish()


def _pngs(part: _Part) -> Iterator[bytes]:
    """Yield the PNG files in the shards of a piece, in their order."""
    names = (row["file_name"].split("/") for row in part.rows)
    for shard, inside in groupby(names, key=itemgetter(0)):
        wanted = map(itemgetter(1), inside)
        try:
            with tarfile.open(part.folder / shard, "r:") as tar:
                for member in tar:
                    if member.name.endswith(".png"):
                        if member.name != next(wanted, None):
                            raise _wrong(
                                part.folder,
                                f"{member.name} in {shard}",
                                "the pictures of its metadata.jsonl",
                                "make it again",
                            )
                        file = tar.extractfile(member)
                        assert file is not None
                        yield file.read()
        except (OSError, tarfile.TarError) as error:
            raise _wrong(part.folder / shard, first_line(error), "an intact shard", "make the piece again") from error
