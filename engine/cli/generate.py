"""The command `engine generate`: check the command line, choose the runtime, make the pictures, report."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from engine.backends.select import settle
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import AUTO, HardwareSettings, RequestSettings
from engine.cli.like import like_picture
from engine.cli.options import origin_words
from engine.cli.settings import ClusterSettings, OutputSettings, SubjectSettings
from engine.errors import RequestError
from engine.files import expect_place
from engine.options import parse_each, with_options
from engine.output.chunks import parse_piece
from engine.output.formats import Output, make_output
from engine.output.journal import previous_identity, read_usable_folder
from engine.runs.balance import missing_pictures
from engine.terminal import progress_bar, stopped_by_signals, warn

if TYPE_CHECKING:
    from engine.output.remote import Remote
    from engine.runs.generate import RunResult

__all__ = ["generate"]


@with_options
def generate(
    context: typer.Context,
    subject: SubjectSettings,
    output: OutputSettings,
    settings: RequestSettings,
    cluster: ClusterSettings,
) -> None:
    """Make n pictures of each class. Run the same command again to resume an interrupted run."""
    if subject.like is not None:
        subject, settings = like_picture(subject, settings, partial(_given, context))
    checked = _check(context, subject, output, settings, cluster)
    if checked is None:
        nothing = {"made": 0, "total": 0, "failed": 0, "complete": True}
        print(json.dumps(nothing) if output.as_json else f"Every class of {subject.balance} has enough pictures.")
        return
    job = _choose_runtime(checked, settings.hardware)
    result = _produce(job, checked, cluster)
    place = str(checked.output.folder) if checked.remote is None else output.out.rstrip("/")
    _report(job, result, place, output.as_json)
    if result.failed or result.stopped:
        sys.exit(1)


def _given(context: typer.Context, field: str) -> bool:
    """Return whether the option of a field stands on the command line."""
    source = context.get_parameter_source(field)
    return source is not None and source.name == "COMMANDLINE"


@dataclass(frozen=True)
class _Checked:
    """A command line that passed every check for which no runtime is needed."""

    job: Job
    output: Output
    remote: Remote | None
    """The URL that the pictures go to, if --out names one."""
    previous: Mapping[str, Any] | None
    """Identity of the run in the output folder, if this command resumes one."""


def _check(
    context: typer.Context,
    subject: SubjectSettings,
    output: OutputSettings,
    settings: RequestSettings,
    cluster: ClusterSettings,
) -> _Checked | None:
    """Return the checked command line, or None if --balance finds that no class lacks a picture."""
    bundle = open_bundle(subject.bundle)
    class_names, counts = _wanted(bundle, subject)
    if counts == {}:
        return None
    piece = None if cluster.shard is None else parse_piece(cluster.shard)
    folder, remote = Path(output.out) if piece is None else piece.folder(Path(output.out)), None
    if "://" in output.out:
        remote = _open_remote(context, output, cluster)
        folder = remote.folder
    else:
        expect_place(folder)
    previous = None if output.overwrite else previous_identity(folder)
    job = make_job(bundle, class_names, counts, settings, previous)
    for words in job.warnings:
        warn(f"{words}.")
    size = job.request.final_size
    where = make_output(folder, output.file_format, *size, output.shard_pictures, piece, overwrite=output.overwrite)
    return _Checked(job, where, remote, previous)


def _wanted(bundle: Bundle, subject: SubjectSettings) -> tuple[list[str], int | dict[str, int]]:
    """Return the classes, and the number of pictures of each, as one number or by class. Raises RequestError."""
    chosen = parse_each(subject.class_name)
    if subject.balance is not None:
        counts = missing_pictures(subject.balance, list(bundle.manifest.classes), chosen, subject.n)
        return list(counts), counts
    if subject.n is None:
        fix = "add --n and the number of pictures"
        raise RequestError("generate", found="no --n", expected="--n or --balance", fix=fix)
    return chosen, subject.n


def _open_remote(context: typer.Context, output: OutputSettings, cluster: ClusterSettings) -> Remote:
    for flag, given in (("--shard", cluster.shard is not None), ("--overwrite", output.overwrite)):
        if given:
            raise RequestError(
                flag, found=f"--out {output.out}", expected="a folder", fix=f"leave {flag} out, or name a folder"
            )
    from engine.output.remote import open_remote

    return context.with_resource(open_remote(output.out))


def _choose_runtime(checked: _Checked, hardware: HardwareSettings) -> Job:
    """Return the job with its backend and batch size. Runtimes are imported from here on."""
    job, why = settle(checked.job, hardware)
    print(f"Backend: {why}.", file=sys.stderr)
    if hardware.batch_size == AUTO and not checked.previous:
        # Nothing is measured for a folder that will be refused.
        read_usable_folder(checked.output.folder)
        from engine.measure.batch_size import measure_batch_size

        batch_size, words = measure_batch_size(job)
        print(f"Batch size: {words}.", file=sys.stderr)
        job = job.changed(batch_size=batch_size)
    return job


def _produce(job: Job, checked: _Checked, cluster: ClusterSettings) -> RunResult:
    """Make the pictures, here or on the cluster, and put them to the URL if there is one."""
    from engine.runs import generate as run
    from engine.runs.production import produce

    remote = checked.remote
    with ExitStack() as opened:
        producer = produce
        if cluster.ray is not None:
            from engine.runs.distributed import open_cluster

            workers = 1 if cluster.workers is None else cluster.workers
            producer = opened.enter_context(open_cluster(cluster.ray, workers, job.request.threads)).produce
        show = opened.enter_context(progress_bar(bar_per_task=False))
        stop = opened.enter_context(stopped_by_signals())

        def progress(task: str, done: int, total: int, *_: float | None) -> None:
            show(task, done, total)
            if remote is not None:
                remote.follow()

        result = run.generate(job, checked.output, produced_by=producer, stop=stop, progress=progress)
    if remote is not None and not result.stopped:
        remote.finish()
    return result


def _report(job: Job, result: RunResult, place: str, as_json: bool) -> None:
    """Print the result. place: the folder or URL that holds the pictures."""
    request, classes = job.request, job.bundle.manifest.classes
    sheet = None if result.sheet is None else f"{place}/{result.sheet.name}"
    if as_json:
        facts = {
            "made": result.made,
            "total": result.total,
            "failed": result.failed,
            "complete": not result.stopped,
            "seconds": round(result.seconds, 3),
            "seed": request.seed,
            "batch_size": request.batch_size,
            "out": place,
            "sheet": sheet,
            "trained_on": {name: classes[name].origin for name in request.class_names},
        }
        print(json.dumps(facts))
        return
    rate = f" ({result.made / result.seconds:.1f} per second)" if result.made else ""
    print(f"{result.total} synthetic pictures, {result.made} of them new, in {result.seconds:.1f} s{rate}.")
    for name in request.class_names:
        print(f"{name}: trained on {classes[name].pictures} {origin_words(classes[name].origin)}.")
    if result.failed:
        print(f"{result.failed} seeds gave no picture. {place}/failed.jsonl lists them with the reasons.")
    print(f"Folder:        {place}")
    if result.stopped:
        print("Stopped before the end. Every finished file is intact; run the same command again to resume.")
    elif sheet is not None:
        print(f"Contact sheet: {sheet}")
