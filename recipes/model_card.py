"""Write docs/model-card.md from the records that recipes/evaluation/cells.sh leaves: Markdown on stdout.

    python -m recipes.model_card WORK RECIPE

WORK holds records/, autoencoder.json and phantom_probe.json. RECIPE holds cells/ with the bundle's manifest and record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.arguments import existing_folder, script_parser
from engine.files import sha256_of
from engine.terminal import run_command_line
from evaluate.report.records import read_results
from evaluate.studies.copies import CopiesResults
from evaluate.studies.judge import Share, Verdict
from evaluate.studies.morphology import Morphology, is_far
from evaluate.studies.score import Figure, Score, ScoreResults
from evaluate.studies.utility import Utility

Record = dict[str, Any]
Row = tuple[str, str]
RECORDS = Path(__file__).parents[1] / "docs/evaluation"


@dataclass(frozen=True)
class Sources:
    """The folder of the records, and the records that describe several classes."""

    work: Path
    manifest: Record
    judge: Verdict
    autoencoder: Record
    probe: Record
    base_classes: Record

    def figures(self, name: str) -> dict[str, Score]:
        """Return the figures of a `score` record by name, for example of `fast-ig`."""
        return read_results(self.work / f"records/score-{name}", ScoreResults).figures

    def copies(self, name: str) -> CopiesResults:
        """Return the results of the `copies` record of a class."""
        return read_results(self.work / f"records/copies-{name}", CopiesResults)


def read(path: Path) -> Record:
    """Return the JSON object in a file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def interval(figure: Figure) -> str:
    """Return a value with its interval."""
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def share(found: Share) -> str:
    """Return the share of the intended class in per cent, with its interval."""
    return f"{found.intended:.0%} [{found.low:.0%}, {found.high:.0%}]"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(sources: Sources, name: str, rows: list[Row]) -> str:
    """Return the section of one class: heading, eight cells, table."""
    picture = f"![Eight synthetic cells of the class {name}](model-card/{name}.jpg)"
    return f"### {name}\n{picture}\n\n" + table(["measure", name], [list(row) for row in rows])


def trained_on(sources: Sources, name: str, how: str) -> Row:
    """Return what taught the class, and the prompt that it uses."""
    entry = sources.manifest["classes"][name]
    kind = "phantoms" if entry["origin"] == "phantom" else "photographs"
    return ("trained on", f"{entry['pictures']} {kind}, {how}; prompt `{entry['prompt']}`")


def distance_rows(sources: Sources, name: str) -> list[Row]:
    """Return FD-cyto with its floor and nearest control, and recall."""
    found = sources.figures(name)
    fd, recall = found["FD-cyto"], found["recall-cyto"]
    floor = fd.floor.value
    controls = {key: one.value / floor for key, one in fd.controls.items()}
    nearest = min(controls, key=lambda key: controls[key])
    return [
        ("FD-cyto", f"{interval(fd.fake)}: **{fd.fake.value / floor:.1f} floors** (floor {floor:.3g})"),
        ("nearest control", f"{controls[nearest]:.1f} floors ({nearest})"),
        ("recall (of real cells)", f"{recall.fake.value:.2f} ({recall.floor.value:.2f})"),
    ]


def judge_rows(sources: Sources, name: str) -> list[Row]:
    """Return the judge's result, copies and morphology."""
    found, real = sources.judge.synthetic["blood"][name], sources.judge.held_out[name]
    other = instead(found.given, name)
    copies = sources.copies(name)
    measures = read_results(sources.work / f"records/morphology-{name}", Morphology).measures.values()
    far = sum(is_far(one.distance, one.floor) for one in measures)
    return [
        ("intended class by the judge", f"{share(found)} (of held-out real cells {share(real)})"),
        ("most often instead", f"{other}, {found.given[other]} of {sum(found.given.values())}"),
        ("copies", f"{copies.rate:.1%} [{copies.rate_low:.1%}, {copies.rate_high:.1%}]"),
        ("morphology off", f"{far} of {len(measures)}"),
    ]


def probe_rows(sources: Sources, name: str) -> list[Row]:
    """Return the share of synthetic phantoms that the phantoms' probe gives to their class."""
    drawn, equalised = (sources.probe[kind]["synthetic"][name] for kind in ("as drawn", "equalised"))
    other = instead(drawn, name)
    shares = [f"{counts[name] / sum(counts.values()):.0%}" for counts in (drawn, equalised)]
    return [
        ("intended class by the probe", f"{shares[0]} as drawn, {shares[1]} equalised"),
        ("most often instead", f"{other}, {drawn[other]} of {sum(drawn.values())}" if drawn[other] else "none"),
    ]


def instead(counts: dict[str, int], name: str) -> str:
    """Return the class with which this class is most often confused."""
    return max((key for key in counts if key != name), key=lambda key: counts[key])


def hypernetwork_rows(sources: Sources, name: str) -> list[Row]:
    """Return FD-cyto, and for photographs the judge's result, without a hypernetwork and with another class's."""
    judged = sources.judge.synthetic
    rows = []
    for kind, words in (("alone", "without its hypernetwork"), ("other", "with another class's hypernetwork")):
        value = f"FD-cyto {interval(sources.figures(f'{kind}-{name}')['FD-cyto'].fake)}"
        if name in judged[f"blood-{kind}"]:
            value += f", judge {judged[f'blood-{kind}'][name].intended:.0%}"
        rows.append((words, value))
    return rows


def base_class_row(sources: Sources, name: str) -> Row:
    """Return FD-cyto and KD-cyto of a class of the base without a hypernetwork and with one, on pictures kept back."""
    made = sources.base_classes["classes"][name]
    words = [f"{way} {one['FD-cyto']:.3g}, {one['KD-cyto']:.3g}" for way, one in made.items()]
    return ("with a hypernetwork, FD-cyto, KD-cyto", "; ".join(words))


def reconstruction_row(sources: Sources, name: str) -> Row:
    """Return what the autoencoder alone loses."""
    one = sources.autoencoder["classes"][name]
    floors = one["fd_cyto_reconstructed"] / one["fd_cyto_floor"]
    return (
        "reconstruction",
        f"{one['psnr_db']:.1f} dB, nucleus {one['psnr_nucleus_db']:.1f} dB, FD-cyto"
        f" {one['fd_cyto_reconstructed']:.2f}: {floors:.1f} floors (floor {one['fd_cyto_floor']:.2f})",
    )


def fast_row(sources: Sources, name: str) -> Row:
    """Return the distances of the preset `fast`; "above" marks one beyond the default's interval."""
    default, preset = sources.figures(name), sources.figures(f"fast-{name}")
    words = []
    for figure in ("FD-cyto", "KD-cyto"):
        found, high = preset[figure].fake.value, default[figure].fake.high
        words.append(
            f"{figure} {found:.3g}{'' if found <= high else ' (above)'} (default {interval(default[figure].fake)})"
        )
    return ("preset `fast`", "; ".join(words))


def overview(sources: Sources, names: list[str]) -> str:
    """Return one row per class: distance in floors, the judge's or the probe's word, copies."""
    rows = []
    judged = sources.judge.synthetic["blood"]
    for name in names:
        fd = sources.figures(name)["FD-cyto"]
        if name in judged:
            intended, copies = judged[name].intended, f"{sources.copies(name).rate:.1%}"
        else:
            counts = sources.probe["as drawn"]["synthetic"][name]
            intended, copies = counts[name] / sum(counts.values()), "not measured"
        entry = sources.manifest["classes"][name]
        kind = "phantoms" if entry["origin"] == "phantom" else "photographs"
        floors = fd.fake.value / fd.floor.value
        rows.append([f"[`{name}`](#{name})", f"{entry['pictures']} {kind}", f"{floors:.1f}", f"{intended:.0%}", copies])
    return table(["class", "trained on", "FD-cyto, floors", "intended class", "copies"], rows)


def fast_settings(manifest: Record) -> str:
    """Return where the preset differs from the defaults."""
    default, preset = manifest["defaults"], manifest["presets"]["fast"]
    words = [f"{preset['num_inference_steps']} steps instead of {default['num_inference_steps']}"]
    if preset["guidance_interval"] != default["guidance_interval"]:
        between = "guidance between sigma {:g} and {:g} instead of {:g} and {:g}"
        words.append(between.format(*preset["guidance_interval"], *default["guidance_interval"]))
    return ", ".join([*words, "8-bit graphs"])


def utility(work: Path) -> str:
    """Return the balanced accuracy of each training set, and the gains."""
    lines: list[list[str]] = []
    for row, found in read_results(work / "records/utility", Utility).rows.items():
        for arm, figures in found.arms.items():
            one = figures.balanced_accuracy
            lines.append([f"{row}: {arm}", f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"])
        for arm, gain in found.gains.items():
            points = [f"{100 * value:+.1f}" for value in (gain.mean, gain.low, gain.high)]
            lines.append([f"**{row}: gain of {arm}**, points", f"**{points[0]}** [{points[1]}, {points[2]}]"])
    return table(["", "balanced accuracy"], lines)


def autoencoder_mean(sources: Sources) -> str:
    """Return the means over all classes; the floors are a ratio of means."""
    one = sources.autoencoder["means"]
    floors = one["fd_cyto_reconstructed"] / one["fd_cyto_floor"]
    return (
        f"{one['psnr_db']:.1f} dB, {one['psnr_nucleus_db']:.1f} dB in the nucleus, and FD-cyto"
        f" {one['fd_cyto_reconstructed']:.2f}, which is {floors:.1f} floors (floor {one['fd_cyto_floor']:.2f})"
    )


def machine_of(record: Record) -> str:
    """Return the GPU of a training, or else the processor with its threads."""
    machine = record["machine"]
    return str(machine.get("gpu") or f"{machine['processor']}, {machine['threads']} threads")


def training(recipe: Path) -> str:
    """Return steps, batches, times and machines of every training."""
    record = read(recipe / "cells/record.json")
    # A base that was trained on from another holds the other's record; the first base is the innermost.
    bases = [record["base"]]
    while "start" in bases[0]:
        bases.insert(0, bases[0]["start"])
    rows = []
    for number, base in enumerate(bases):
        encoder = base.get("encoder", {})
        for what, one in (
            ("autoencoder", base.get("vae", {})),
            ("UNet and text encoder", base.get("unet", {})),
            ("encoder, anew", encoder.get("by_pixels", encoder)),
            ("encoder, by texture", encoder.get("by_texture", {})),
            ("decoder, further" if number else "decoder", base.get("decoder", {})),
        ):
            if "steps_done" in one:
                rows.append(training_row(what, one, base))
    rows += [
        training_row(f"hypernetwork `{name}`", one["training"], one) for name, one in record["hypernetworks"].items()
    ]
    return table(["", "steps", "batch", "time", "on"], rows)


def training_row(what: str, one: Record, record: Record) -> list[str]:
    """Return one training as a row."""
    return [
        what,
        f"{one['steps_done']:,}",
        str(one["batch_size"]),
        f"{one['seconds'] / 60:.1f} min",
        machine_of(record),
    ]


def sections(sources: Sources, trained: list[str]) -> dict[str, str]:
    """Return the sections of the classes by kind: base, few, phantom."""
    kinds: dict[str, list[str]] = {"base": [], "few": [], "phantom": []}
    for name, entry in sorted(sources.manifest["classes"].items()):
        rows = distance_rows(sources, name)
        if entry["origin"] == "phantom":
            kind, how = "phantom", "a hypernetwork"
            rows += [*probe_rows(sources, name), *hypernetwork_rows(sources, name)]
        else:
            kind, how = ("few", "a hypernetwork") if name in trained else ("base", "by the base itself")
            rows += judge_rows(sources, name)
            rows += hypernetwork_rows(sources, name) if name in trained else [base_class_row(sources, name)]
            rows.append(reconstruction_row(sources, name))
        rows = [trained_on(sources, name, how), *rows, fast_row(sources, name)]
        kinds[kind].append(section(sources, name, rows))
    return {f"{kind}_classes": "\n\n".join(found) for kind, found in kinds.items()}


def main() -> None:
    """Print the model card."""
    parser = script_parser("recipes.model_card", __doc__)
    parser.add_argument("work", metavar="WORK", type=existing_folder)
    parser.add_argument("recipe", metavar="RECIPE", type=existing_folder)
    asked = parser.parse_args()
    work: Path = asked.work
    recipe: Path = asked.recipe
    manifest = read(recipe / "cells/manifest.json")
    sources = Sources(
        work,
        manifest,
        read_results(work / "records/judge", Verdict),
        read(work / "autoencoder.json"),
        read(work / "phantom_probe.json"),
        read(RECORDS / "base_classes.json"),
    )
    trained = sorted(read(recipe / "cells/record.json")["hypernetworks"])
    photographs = sorted(name for name, one in manifest["classes"].items() if one["origin"] == "photographs")
    phantom = sorted(set(manifest["classes"]) - set(photographs))
    text = Template((Path(__file__).with_name("model_card.md.in")).read_text(encoding="utf-8")).substitute(
        files=len(manifest["files"]),
        megabytes=f"{sum(one['bytes'] for one in manifest['files'].values()) / 1e6:.1f}",
        digest=sha256_of(recipe / "cells/manifest.json")[:12],
        judge_accuracy=f"{sources.judge.held_out_accuracy:.1%}",
        overview=overview(sources, [*photographs, *phantom]),
        autoencoder_mean=autoencoder_mean(sources),
        fast_settings=fast_settings(manifest),
        utility=utility(work),
        training=training(recipe),
        **sections(sources, trained),
    )
    print(text, end="")


if __name__ == "__main__":
    run_command_line(main)
