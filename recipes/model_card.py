"""The figures of docs/model-card.md, from the records that cells.sh leaves: Markdown on stdout.

    python -m recipes.model_card WORK RECIPE

WORK holds records/ and autoencoder.json, RECIPE the folder cells/ with the bundle's manifest and record.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from string import Template
from typing import Any

from engine.files import sha256_of
from evaluate.studies.morphology import count_far

Record = dict[str, Any]
RECORDS = Path(__file__).parents[1] / "docs/evaluation"


def read(path: Path) -> Record:
    """A JSON object."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def interval(figure: Record, digits: str = ".3g") -> str:
    """Value and interval."""
    return f"{figure['value']:{digits}} [{figure['low']:{digits}}, {figure['high']:{digits}}]"


def share(found: Record) -> str:
    """Percent and interval."""
    return f"{found['intended']:.0%} [{found['low']:.0%}, {found['high']:.0%}]"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def scored(work: Path, class_name: str) -> Record:
    """The figures of a class by name."""
    return dict(read(work / f"records/score-{class_name}/record.json")["results"]["figures"])


def distances(work: Path, names: list[str]) -> str:
    """FD-cyto and recall of each class, its floor and the nearest control."""
    rows = []
    for name in names:
        found = scored(work, name)
        fd, recall = found["FD-cyto"], found["recall-cyto"]
        floor = fd["floor"]["value"]
        controls = {key: one["value"] / floor for key, one in fd["controls"].items()}
        nearest = min(controls, key=lambda key: controls[key])
        rows.append(
            [
                f"`{name}`",
                f"{floor:.3g}",
                interval(fd["fake"]),
                f"{fd['fake']['value'] / floor:.1f}",
                f"{controls[nearest]:.1f} ({nearest})",
                f"{recall['fake']['value']:.2f} ({recall['floor']['value']:.2f})",
            ]
        )
    header = ["class", "floor", "FD-cyto", "floors", "nearest control, floors", "recall (real)"]
    return table(header, rows)


def judged(work: Path, names: list[str]) -> str:
    """The judge's word on each class, on real cells and beside copies and morphology."""
    results = read(work / "records/judge/record.json")["results"]
    rows = []
    for name in names:
        given = results["synthetic"]["blood"][name]["given"]
        other = instead(given, name)
        copies = read(work / f"records/copies-{name}/record.json")["results"]
        rows.append(
            [
                f"`{name}`",
                share(results["held_out"][name]),
                share(results["synthetic"]["blood"][name]),
                f"{other}, {given[other]}",
                f"{copies['rate']:.1%} [{copies['rate_low']:.1%}, {copies['rate_high']:.1%}]",
                off(work, name),
            ]
        )
    header = ["class", "held-out real cells", "synthetic cells", "most often instead", "copies", "morphology off"]
    return table(header, rows)


def probed(work: Path, names: list[str]) -> str:
    """What the phantoms' probe takes synthetic phantoms for."""
    record = read(work / "phantom_probe.json")
    rows = []
    for name in names:
        counts = {kind: record[kind]["synthetic"][name] for kind in ("as drawn", "equalised")}
        drawn = counts["as drawn"]
        other = instead(drawn, name)
        shares = [f"{found[name] / sum(found.values()):.0%}" for found in counts.values()]
        rows.append([f"`{name}`", *shares, f"`{other}`, {drawn[other]}"])
    return table(["class", "as drawn", "equalised", "most often instead"], rows)


def off(work: Path, name: str) -> str:
    """How many of a class's measures of shape and stain are off."""
    measures = read(work / f"records/morphology-{name}/record.json")["results"]["measures"].values()
    return f"{count_far(measures)} of {len(measures)}"


def instead(counts: dict[str, int], name: str) -> str:
    """The other class that pictures of this one are most often taken for."""
    return max((key for key in counts if key != name), key=lambda key: counts[key])


def hypernetworks(work: Path, few: list[str], phantom: list[str]) -> str:
    """FD-cyto and the judge's word with a class's own hypernetwork, without one, and with another class's."""
    results = read(work / "records/judge/record.json")["results"]["synthetic"]
    rows = []
    for name in [*few, *phantom]:
        values = [interval(scored(work, f"{kind}{name}")["FD-cyto"]["fake"]) for kind in ("", "alone-", "other-")]
        words = [
            f", {results[folder][name]['intended']:.0%}" if name in few else ""
            for folder in ("blood", "blood-alone", "blood-other")
        ]
        rows.append([f"`{name}`", *(value + word for value, word in zip(values, words, strict=True))])
    return table(["class", "its hypernetwork", "none", "another class's"], rows)


def fast(work: Path, names: list[str]) -> str:
    """The preset fast beside the default's intervals."""
    rows = []
    for name in names:
        default, preset = scored(work, name), scored(work, f"fast-{name}")
        words = []
        for figure in ("FD-cyto", "KD-cyto"):
            found, high = preset[figure]["fake"]["value"], default[figure]["fake"]["high"]
            words += [interval(default[figure]["fake"]), f"{found:.3g}" + ("" if found <= high else " (above)")]
        rows.append([f"`{name}`", *words])
    return table(["class", "FD-cyto", "fast", "KD-cyto", "fast"], rows)


def fast_settings(manifest: Record) -> str:
    """Where the preset differs from the defaults."""
    default, preset = manifest["defaults"], manifest["presets"]["fast"]
    words = [f"{preset['num_inference_steps']} steps instead of {default['num_inference_steps']}"]
    if preset["guidance_interval"] != default["guidance_interval"]:
        between = "guidance between sigma {:g} and {:g} instead of {:g} and {:g}"
        words.append(between.format(*preset["guidance_interval"], *default["guidance_interval"]))
    return ", ".join([*words, "8-bit graphs"])


def base_classes() -> str:
    """FD-cyto and KD-cyto of the classes of the base, without a hypernetwork and with one."""
    found = read(RECORDS / "base_classes.json")["classes"]
    ways = list(next(iter(found.values())))
    rows = [
        [f"`{name}`", *(f"{made[way]['FD-cyto']:.3g}, {made[way]['KD-cyto']:.3g}" for way in ways)]
        for name, made in sorted(found.items())
    ]
    return table(["class", *ways], rows)


def utility(work: Path) -> str:
    """Balanced accuracy of every arm."""
    rows = read(work / "records/utility/record.json")["results"]["rows"]
    lines: list[list[str]] = []
    for row, found in rows.items():
        for arm, figures in found["arms"].items():
            one = figures["balanced_accuracy"]
            lines.append([f"{row}: {arm}", f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"])
        for arm, gain in found["gains"].items():
            points = [f"{100 * gain[key]:+.1f}" for key in ("mean", "low", "high")]
            lines.append([f"**{row}: gain of {arm}**, points", f"**{points[0]}** [{points[1]}, {points[2]}]"])
    return table(["", "balanced accuracy"], lines)


def autoencoder(work: Path) -> str:
    """What the autoencoder alone loses."""
    found = read(work / "autoencoder.json")
    rows = [
        [
            f"`{name}`" if name != "mean" else "mean",
            f"{one['psnr_db']:.1f}",
            f"{one['psnr_nucleus_db']:.1f}",
            f"{one['fd_cyto_floor']:.2f}",
            f"{one['fd_cyto_reconstructed']:.2f}",
            f"{one['fd_cyto_reconstructed'] / one['fd_cyto_floor']:.1f}",
        ]
        for name, one in {**found["classes"], "mean": found["means"]}.items()
    ]
    return table(["class", "PSNR, dB", "in the nucleus", "floor", "FD-cyto", "floors"], rows)


def trained_on(record: Record) -> str:
    """The GPU, or else the processor with its threads."""
    machine = record["machine"]
    return str(machine.get("gpu") or f"{machine['processor']}, {machine['threads']} threads")


def training(recipe: Path) -> str:
    """Steps, batches, times and machines."""
    record = read(recipe / "cells/record.json")
    # A base that another was trained on from holds that one's record, the first of all innermost.
    bases = [record["base"]]
    while "start" in bases[0]:
        bases.insert(0, bases[0]["start"])
    rows = [
        [what, f"{one['steps_done']:,}", str(one["batch_size"]), f"{one['seconds'] / 60:.1f} min", trained_on(base)]
        for number, base in enumerate(bases)
        for encoder in [base.get("encoder", {})]
        for what, one in (
            ("autoencoder", base.get("vae", {})),
            ("UNet and text encoder", base.get("unet", {})),
            ("encoder, anew", encoder.get("by_pixels", encoder)),
            ("encoder, by texture", encoder.get("by_texture", {})),
            ("decoder, further" if number else "decoder", base.get("decoder", {})),
        )
        if "steps_done" in one
    ]
    rows += [
        [
            f"hypernetwork `{name}`",
            f"{one['training']['steps_done']:,}",
            str(one["training"]["batch_size"]),
            f"{one['training']['seconds'] / 60:.1f} min",
            trained_on(one),
        ]
        for name, one in record["hypernetworks"].items()
    ]
    return table(["", "steps", "batch", "time", "on"], rows)


def main(work: Path, recipe: Path) -> None:
    manifest = read(recipe / "cells/manifest.json")
    classes = manifest["classes"]
    trained = sorted(read(recipe / "cells/record.json")["hypernetworks"])
    photographs = sorted(name for name, one in classes.items() if one["origin"] == "photographs")
    few = [name for name in photographs if name in trained]
    phantom = sorted(name for name, one in classes.items() if one["origin"] == "phantom")
    text = Template((Path(__file__).with_name("model_card.md.in")).read_text(encoding="utf-8")).substitute(
        files=len(manifest["files"]),
        megabytes=f"{sum(one['bytes'] for one in manifest['files'].values()) / 1e6:.1f}",
        digest=sha256_of(recipe / "cells/manifest.json")[:12],
        base_distances=distances(work, [name for name in photographs if name not in few]),
        few_distances=distances(work, few),
        phantom_distances=distances(work, phantom),
        judged=judged(work, photographs),
        judge_accuracy=f"{read(work / 'records/judge/record.json')['results']['held_out_accuracy']:.1%}",
        probed=probed(work, phantom),
        hypernetworks=hypernetworks(work, few, phantom),
        base_classes=base_classes(),
        fast_settings=fast_settings(manifest),
        fast=fast(work, [*photographs, *phantom]),
        utility=utility(work),
        autoencoder=autoencoder(work),
        training=training(recipe),
    )
    print(text, end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
