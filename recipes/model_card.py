"""Write docs/model-card.md from the records that recipes/evaluation/cells.sh leaves: Markdown on stdout.

    python -m recipes.model_card WORK RECIPE

WORK holds records/ and phantom_probe.json. RECIPE holds cells/ with the bundle's manifest and record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from benchmarks.arguments import existing_folder, script_parser
from engine.files import sha256_of
from engine.terminal import run_command_line
from evaluate.report.records import read_results
from evaluate.studies.copies import CopiesResults
from evaluate.studies.judge import Share, Verdict
from evaluate.studies.morphology import Morphology, is_far
from evaluate.studies.probe import ProbeResults, Told
from evaluate.studies.score import Figure, Score, ScoreResults
from evaluate.studies.texture import TITLES
from evaluate.studies.utility import Utility

Record = dict[str, Any]
Row = list[str]
PRESET = "turbo"
SETTINGS = {"default": "default settings", PRESET: f"preset `{PRESET}`"}
"""The ways of drawing: the folder's name, and its heading."""
ENCODERS = ("imagenet", "cyto")
TEXTURE = {
    "blobness_0.8": "{:.3f}",
    "nucleus_coherence": "{:.2f}",
    "background_luma_0.25": "{:.1f}",
    "background_luma_0.5": "{:.1f}",
    "ragged_outline": "{:.3f}",
}


@dataclass(frozen=True)
class Sources:
    """The folder of the records, and the records that describe several classes."""

    work: Path
    manifest: Record
    judge: Verdict
    probe: Record

    def score(self, way: str, name: str) -> dict[str, Score]:
        """Return the figures of the record `score` of a class that was drawn in this way."""
        return read_results(self.record("score", way, name), ScoreResults).figures

    def told(self, way: str, name: str) -> dict[str, Told]:
        """Return the accuracies of the record `probe` of a class that was drawn in this way."""
        (found,) = read_results(self.record("probe", way, name), ProbeResults).classes.values()
        return found.accuracies

    def copies(self, name: str) -> CopiesResults:
        """Return the record `copies` of the preset's cells of a class."""
        return read_results(self.record("copies", PRESET, name), CopiesResults)

    def record(self, study: str, way: str, name: str) -> Path:
        """Return the folder of a record."""
        return self.work / f"records/{study}-{way}-{name}"


def read(path: Path) -> Record:
    """Return the JSON object in a file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def interval(figure: Figure) -> str:
    """Return a value with its interval."""
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def share(found: Share) -> str:
    """Return the share of the intended class in per cent, with its interval."""
    return f"{found.intended:.0%} [{found.low:.0%}, {found.high:.0%}]"


def table(header: list[str], rows: list[Row]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_floors(score: Score) -> float:
    """Return a distance, divided by that of real cells from other real cells."""
    return score.fake.value / score.floor.value


def distance_rows(sources: Sources, name: str) -> list[Row]:
    """Return the distances with their floors and nearest controls, and precision and recall."""
    scores = [sources.score(way, name) for way in SETTINGS]
    rows = []
    for encoder in ENCODERS:
        found = [one[f"FD-{encoder}"] for one in scores]
        controls = {key: one.value / found[0].floor.value for key, one in found[0].controls.items()}
        nearest = min(controls, key=lambda key: controls[key])
        cells = [f"{interval(one.fake)}: **{in_floors(one):.1f} floors**" for one in found]
        rows.append([f"FD-{encoder}", f"floor {found[0].floor.value:.3g}", *cells])
        rows.append([f"nearest control by FD-{encoder}", f"{controls[nearest]:.1f} floors ({nearest})", "", ""])
    for kind in ("precision-imagenet", "recall-imagenet", "recall-cyto"):
        found = [one[kind] for one in scores]
        rows.append(
            [kind.replace("-", ", "), *(f"{one:.2f}" for one in (found[0].floor.value, *(f.fake.value for f in found)))]
        )
    return rows


def probe_rows(sources: Sources, name: str) -> list[Row]:
    """Return how many pictures a linear classifier tells from real ones, by all its features and by each group."""
    found = [sources.told(way, name) for way in SETTINGS]
    rows = []
    for group, told in found[0].items():
        title = "probe" if group == "imagenet" else f"probe by {group} alone"
        rows.append([title, f"{told.control.value:.0%}", *(f"{one[group].synthetic.value:.0%}" for one in found)])
    return rows


def morphology_rows(sources: Sources, name: str) -> list[Row]:
    """Return texture, and how many measures of shape and stain are off."""
    found = [read_results(sources.record("morphology", way, name), Morphology) for way in SETTINGS]
    rows = []
    for key, form in TEXTURE.items():
        drawn = [one.texture[key] for one in found]
        means = [np.mean(drawn[0].real), *(np.mean(one.synthetic) for one in drawn)]
        rows.append([TITLES[key], *(form.format(mean) for mean in means)])
    far = [sum(is_far(one.distance, one.floor) for one in each.measures.values()) for each in found]
    rows.append(["morphology off", "", *(f"{one} of {len(found[0].measures)}" for one in far)])
    return rows


def judge_rows(sources: Sources, name: str) -> list[Row]:
    """Return the judge's result, and the preset's copies."""
    found = [sources.judge.synthetic[way][name] for way in SETTINGS]
    copies = sources.copies(name)
    return [
        ["intended class by the judge", share(sources.judge.held_out[name]), *map(share, found)],
        ["most often instead", *(instead(one.given, name) for one in (sources.judge.held_out[name], *found))],
        ["copies", "1 % by definition", "", f"{copies.rate:.1%} [{copies.rate_low:.1%}, {copies.rate_high:.1%}]"],
    ]


def phantom_rows(sources: Sources, name: str) -> list[Row]:
    """Return the preset's FD-cyto, and the share of its phantoms that the phantoms' probe gives to their class."""
    found = sources.score(PRESET, name)["FD-cyto"]
    rows = [["FD-cyto", f"floor {found.floor.value:.3g}", f"{interval(found.fake)}: {in_floors(found):.1f} floors"]]
    for kind in ("as drawn", "equalised"):
        counts = sources.probe[kind]["synthetic"][name]
        rows.append([f"intended class by the probe, {kind}", "", f"{counts[name] / sum(counts.values()):.0%}"])
    return rows


def instead(counts: dict[str, int], name: str) -> str:
    """Return the class with which this class is most often confused, and how often."""
    other = max((key for key in counts if key != name), key=lambda key: counts[key])
    return f"{other}, {counts[other]} of {sum(counts.values())}" if counts[other] else "none"


def section(sources: Sources, name: str, how: str) -> str:
    """Return the section of a class: heading, eight cells, what taught it, table."""
    entry = sources.manifest["classes"][name]
    if entry["origin"] == "phantom":
        kind, header, rows = "phantoms", ["unseen phantoms", SETTINGS[PRESET]], phantom_rows(sources, name)
    else:
        kind, header = "photographs", ["real cells", *SETTINGS.values()]
        rows = [*distance_rows(sources, name), *probe_rows(sources, name)]
        rows += [*morphology_rows(sources, name), *judge_rows(sources, name)]
    return (
        f"### {name}\n![Eight synthetic cells of the class {name}](model-card/{name}.jpg)\n\n"
        f"Trained on {entry['pictures']} {kind}, {how}. Prompt: `{entry['prompt']}`.\n\n"
        + table(["measure", *header], rows)
    )


def overview(sources: Sources, names: list[str]) -> str:
    """Return one row for each class of photographs: the figures of the preset."""
    rows = []
    for name in names:
        score = sources.score(PRESET, name)
        rows.append(
            [
                f"[`{name}`](#{name})",
                f"{sources.manifest['classes'][name]['pictures']}",
                f"{sources.told(PRESET, name)['imagenet'].synthetic.value:.0%}",
                *(f"{in_floors(score[f'FD-{encoder}']):.1f}" for encoder in ENCODERS),
                *(f"{score[f'{kind}-imagenet'].fake.value:.2f}" for kind in ("precision", "recall")),
                f"{sources.judge.synthetic[PRESET][name].intended:.0%}",
                f"{sources.copies(name).rate:.1%}",
            ]
        )
    header = ["class", "photographs", "probe", *(f"FD-{encoder}, floors" for encoder in ENCODERS)]
    return table([*header, "precision", "recall", "intended class", "copies"], rows)


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
        kind = "phantom" if entry["origin"] == "phantom" else "few" if name in trained else "base"
        how = "by the base itself" if kind == "base" else "with a hypernetwork"
        kinds[kind].append(section(sources, name, how))
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
        read(work / "phantom_probe.json"),
    )
    trained = sorted(read(recipe / "cells/record.json")["hypernetworks"])
    photographs = sorted(name for name, one in manifest["classes"].items() if one["origin"] == "photographs")
    text = Template((Path(__file__).with_name("model_card.md.in")).read_text(encoding="utf-8")).substitute(
        files=len(manifest["files"]),
        megabytes=f"{sum(one['bytes'] for one in manifest['files'].values()) / 1e6:.1f}",
        digest=sha256_of(recipe / "cells/manifest.json")[:12],
        judge_accuracy=f"{sources.judge.held_out_accuracy:.1%}",
        overview=overview(sources, photographs),
        utility=utility(work),
        training=training(recipe),
        **sections(sources, trained),
    )
    print(text, end="")


if __name__ == "__main__":
    run_command_line(main)
