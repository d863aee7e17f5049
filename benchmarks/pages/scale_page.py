"""The page about a million cells, made from the record of benchmarks.scripts.scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from benchmarks.pages.published import link
from benchmarks.scale_model import Server, simulate

__all__ = ["Sources", "page"]

MILLION = 1_000_000
WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LINKS_GBIT = (1, 10, 100)
Record = dict[str, Any]


@dataclass(frozen=True)
class Sources:
    """What the page names as its sources: the command, the file of the record, and the page's own file for links."""

    command: str
    record: Path
    page: Path


def page(record: Record, sources: Sources, *, link_gbit: float, usd_per_hour: float | None) -> str:
    """Return the page as Markdown. If usd_per_hour (the price of one machine per hour) is None, the page shows only
    the formula for the price."""
    run, request, stages = record["run"], record["request"], record["stages"]
    figures = _figures(record)
    rows = _simulated(record, figures, link_gbit)
    saturated = _capacities(record, figures)
    return Template((Path(__file__).parent / "scale.md.in").read_text(encoding="utf-8")).substitute(
        command=sources.command,
        record_link=link(sources.record, sources.page),
        machine=f"{record['machine']['processor']}, {record['machine']['cores']} cores",
        class_name=request["class_names"][0],
        bundle=record["bundle_sha256"][:12],
        steps=request["num_inference_steps"],
        sampler=request["sampler"],
        guidance_scale=f"{request['guidance_scale']:g}",
        width=request["width"],
        height=request["height"],
        batch_size=request["batch_size"],
        runtime=stages["runtime"],
        version=record["version"],
        stages=_stages(record),
        pictures=run["pictures"],
        wall_ms=f"{1000 / figures['rate']:.1f}",
        rate=f"{figures['rate']:.2f}",
        processor_s=f"{run['processor_s_a_picture']:.3f}",
        start_s=f"{run['start_s']:.1f}",
        png_kb=f"{run['png_bytes'] / 1e3:.1f}",
        line_kb=f"{run['line_bytes'] / 1e3:.1f}",
        million_gb=f"{figures['bytes'] * MILLION / 1e9:.1f}",
        saturation=_saturation(record, saturated, figures["rate"]),
        first=_first(saturated, figures["rate"]),
        host_share=f"{_host_share(record):.1%}",
        chunks=len(run["chunk_s"]),
        joined_us=f"{record['joined_s'] * 1e6:.0f}",
        link_gbit=f"{link_gbit:g}",
        workers=_table(
            [
                "workers",
                *(f"{word} {way}" for way in ("folders", "shards") for word in ("hours,", "pictures per second,")),
                "busy share of the disk, folders",
            ],
            [_row(workers, found) for workers, found in rows.items()],
        ),
        price=_price(record, rows, usd_per_hour),
    )


def _figures(record: Record) -> dict[str, float]:
    """Return the bytes of a picture, and rates per second: pictures of one worker, pictures that one process writes as
    folders and as shards, and bytes of the disk."""
    run = record["run"]
    return {
        "rate": record["request"]["batch_size"] / float(np.mean(run["chunk_s"])),
        "bytes": run["png_bytes"] + run["line_bytes"],
        "folders": record["pictures_written"] / float(np.median(record["folders_s"])),
        "shards": record["pictures_written"] / float(np.median(record["shards_s"])),
        "disk": float(np.median(record["disk_bytes_per_s"])),
    }


def _stage_ms(record: Record) -> dict[str, float]:
    """Return the ms per picture of each stage, timed alone."""
    stages, written = record["stages"], record["pictures_written"]
    return {
        "denoising": float(np.median(stages["denoise_ms"])) / stages["batch_size"],
        "decoding": float(np.median(stages["decode_ms"])) / stages["batch_size"],
        "PNG": 1000 * float(np.median(record["encode_s"])),
        "writing a file, flushed to the medium": 1000 * float(np.median(record["folders_s"])) / written,
        "writing into a shard, flushed to the medium": 1000 * float(np.median(record["shards_s"])) / written,
        "writing a line of metadata": 1000 * record["metadata_s"],
    }


def _stages(record: Record) -> str:
    total = 1000 / _figures(record)["rate"]
    rows = [[name, f"{value:.2f}", f"{value / total:.1%}"] for name, value in _stage_ms(record).items()]
    return _table(["stage, timed alone", "ms per picture", "share of a picture in a whole run"], rows)


def _host_share(record: Record) -> float:
    found = _stage_ms(record)
    return (found["PNG"] + found["writing a line of metadata"]) / 1000 * _figures(record)["rate"]


def _capacities(record: Record, figures: dict[str, float]) -> dict[str, float]:
    """Return the pictures per second of each shared part."""
    links = {f"a link of {gbit} Gbit/s": gbit * 1e9 / 8 / figures["bytes"] for gbit in LINKS_GBIT}
    writers = {
        f"the single writer of `--ray`, {way}": 1 / (1 / figures[way] + record["metadata_s"])
        for way in ("folders", "shards")
    }
    return {
        "the disk, one file per picture": figures["folders"],
        "the disk, bytes of a large file": figures["disk"] / figures["bytes"],
        **links,
        **writers,
    }


def _saturation(record: Record, saturated: dict[str, float], worker_rate: float) -> str:
    rows = [[name, f"{rate:,.0f}", f"{rate / worker_rate:,.0f}"] for name, rate in saturated.items()]
    png = [
        "PNG encoding",
        f"{1 / float(np.median(record['encode_s'])):,.0f} in each worker",
        "none: every worker encodes its own",
    ]
    return _table(["part", "pictures per second", "workers that saturate it"], [*rows, png])


def _first(saturated: dict[str, float], worker_rate: float) -> str:
    pieces, ray = (
        min((name for name in saturated if ("--ray" in name) is with_ray), key=lambda name: saturated[name])
        for with_ray in (False, True)
    )
    return (
        f"If each worker writes its own piece (`--shard`), the first part to saturate is **{pieces}**, at "
        f"{saturated[pieces] / worker_rate:,.0f} workers. On a Ray cluster (its transport was not measured) it is "
        f"**{ray}**, at {saturated[ray] / worker_rate:,.0f} workers."
    )


def _simulated(record: Record, figures: dict[str, float], link_gbit: float) -> dict[int, dict[str, dict[str, float]]]:
    """Return hours and pictures per second for a million, by number of workers, for joined folders and for shards."""
    batch, run = record["request"]["batch_size"], record["run"]
    found: dict[int, dict[str, dict[str, float]]] = {}
    for workers in WORKERS:
        found[workers] = {}
        for way, files in (("folders", 1), ("shards", 0)):
            # The measured rate of files includes the cost of a file beyond its bytes.
            server = Server(figures["disk"], figures["folders"], link_gbit * 1e9 / 8)
            write_s = server.seconds(batch * figures["bytes"], batch * files)
            one = simulate(-(-MILLION // batch), workers, run["chunk_s"], write_s, start_s=run["start_s"])
            join_s = MILLION * record["joined_s"] if files and workers > 1 else 0.0
            hours = (one.seconds + join_s) / 3600
            found[workers][way] = {"hours": hours, "rate": MILLION / hours / 3600, "busy": one.server_busy}
    return found


def _row(workers: int, found: dict[str, dict[str, float]]) -> list[str]:
    cells = [f"{found[way][key]:,.{digits}f}" for way in found for key, digits in (("hours", 2), ("rate", 0))]
    return [f"{workers:,}", *cells, f"{found['folders']['busy']:.0%}"]


def _price(record: Record, rows: dict[int, dict[str, dict[str, float]]], usd_per_hour: float | None) -> str:
    cores = record["machine"]["cores"]
    header = ["workers", "machine-hours", "core-hours", *([] if usd_per_hour is None else ["USD"])]
    lines = []
    for workers, found in rows.items():
        hours = workers * found["shards"]["hours"]
        usd = [] if usd_per_hour is None else [f"{hours * usd_per_hour:,.2f}"]
        lines.append([f"{workers:,}", f"{hours:,.1f}", f"{hours * cores:,.0f}", *usd])
    rate = (
        "This page shows no price, because no rate was given (`--usd-per-hour`)."
        if usd_per_hour is None
        else f"The rate is {usd_per_hour:g} USD per hour of this machine, as given on the command line."
    )
    kind = (
        "The figures are those of a GPU."
        if record["machine"]["on_gpu"]
        else "No GPU was measured, so there is no price for a GPU."
    )
    formula = "The price of a million cells in shards is machine-hours x rate, without storage and transfer."
    return f"{formula} {rate} {kind}\n\n{_table(header, lines)}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
