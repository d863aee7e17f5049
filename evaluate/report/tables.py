"""What a record says, in sentences and tables, for terminal and report alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluate.studies.morphology import TITLES, count_far
from evaluate.studies.score import CONTROLS, REPEATED

__all__ = ["Summary", "Table", "summarise"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Summary:
    """Sentences, then tables."""

    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def summarise(record: Record) -> Summary:
    """The summary of a record of any kind."""
    return _KINDS[record["kind"]](record)


def _score(record: Record) -> Summary:
    results = record["results"]
    sentences = [
        f"{name} is {fake:.3g}, {fake / floor:.3g} times the floor."
        for name, fake, floor in (
            (name, found["fake"]["value"], found["floor"]["value"]) for name, found in results["figures"].items()
        )
        if name.startswith(("FID", "FD"))
    ]
    if not results["insensitive"]:
        sentences.append("Every control that was measured stands clear of the floor.")
    sentences += [
        f"The feature set {name} is INSENSITIVE for these pictures: {words}."
        for name, words in results["insensitive"].items()
    ]
    if "--other" not in record["inputs"]:
        sentences.append("The control `another class` was not measured: give --other DIR.")
    if any("ten repeated reals" not in found["controls"] for found in results["figures"].values()):
        sentences.append(f"The control `ten repeated reals` was not measured: it needs N of at least {2 * REPEATED}.")
    sentences += [f"{name} was not measured: it {words}." for name, words in results["not_measured"].items()]
    title = f"N = {results['n']}, {results['splits']} splits [5 %, 95 %]"
    controls = [one for one in CONTROLS if any(one in found["controls"] for found in results["figures"].values())]
    header = ("", "floor (real)", "synthetic", *controls)
    rows = [
        (name, _shown(found["floor"]), _shown(found["fake"]), *(_control(found, control) for control in controls))
        for name, found in results["figures"].items()
    ]
    return Summary(sentences, [Table(title, header, rows)])


def _control(found: dict[str, Any], control: str) -> str:
    mark = "" if not found["clear"] else " clear" if found["clear"][control] else " NOT CLEAR"
    return _shown(found["controls"][control], mark)


def _shown(figure: dict[str, float], mark: str = "") -> str:
    return f"{figure['value']:.3g}{mark}\n[{figure['low']:.3g}, {figure['high']:.3g}]"


def _copies(record: Record) -> Summary:
    results = record["results"]
    sentence = (
        f"Copies: {len(results['copies'])} of {record['inputs']['FAKE']['pictures']} pictures, {results['rate']:.1%} "
        f"[{results['rate_low']:.1%}, {results['rate_high']:.1%}]; of held-out real pictures "
        f"{results['held_out_rate']:.1%}. Threshold: {results['threshold']:.3f}."
    )
    rows = [
        (
            pair["synthetic"],
            pair["training"],
            f"{pair['distance']:.3f}" + (" copy" if pair["distance"] < results["threshold"] else ""),
        )
        for pair in results["closest"]
    ]
    return Summary(
        [sentence], [Table("The closest pairs", ("synthetic", "nearest training picture", "distance"), rows)]
    )


def _morphology(record: Record) -> Summary:
    results = record["results"]
    rows = []
    for name, one in results["measures"].items():
        low, high = one["interval"]
        in_sd = (
            "real values all equal" if value is None else f"{value:.2f}"
            for value in (one["distance_in_sd"], one["floor_in_sd"])
        )
        distance = _shown({"value": one["distance"], "low": low, "high": high})
        rows.append((TITLES[name], distance, f"{one['floor']:.3g}", *in_sd))
    header = ("", "distance [90 %]", "floor", "distance / sd", "floor / sd")
    measures = results["measures"].values()
    sentence = f"{count_far(measures)} of {len(measures)} measures are more than three floors from the real ones."
    least = min((one["n"] for one in measures), default=0)
    return Summary([sentence], [Table(f"Wasserstein distances, real to synthetic, N = {least} or more", header, rows)])


def _utility(record: Record) -> Summary:
    results = record["results"]
    class_names = results["class_names"]
    settings = results["settings"]
    sentences = [
        f"Every arm: {settings['steps']} steps of {settings['batch_size']} pictures of {settings['size']} x "
        f"{settings['size']}, {len(settings['seeds'])} seeds."
    ]
    tables = []
    for row, found in results["rows"].items():
        header = ("", "balanced accuracy", "accuracy", "AUC")
        rows = [
            (name, *(_estimated(arm[figure]) for figure in ("balanced_accuracy", "accuracy", "auc")))
            for name, arm in found["arms"].items()
        ]
        tables.append(Table(f"Held-out real pictures; {row} [5 %, 95 %]", header, rows))
        recalls = [(name, *map(_estimated, arm["recall"].values())) for name, arm in found["arms"].items()]
        tables.append(Table(f"Recall of each class; {row} [5 %, 95 %]", ("", *class_names), recalls))
        for name, gain in found["gains"].items():
            low, high = (f"{100 * gain[end]:+.1f}" for end in ("low", "high"))
            sentences.append(
                f"{row}: the gain of {name} over real + classical is {100 * gain['mean']:+.1f} points of balanced "
                f"accuracy [{low}, {high}]."
            )
    return Summary(sentences, tables)


def _judge(record: Record) -> Summary:
    results = record["results"]
    names, own = results["class_names"], results["held_out"]
    sets = {"held-out real pictures": own, **results["synthetic"]}
    sentences = [
        f"The judge gives the right class to {results['held_out_accuracy']:.1%} of held-out real pictures (balanced)."
    ]
    sentences += [
        f"{path}: {name} is given its own class in {share['intended']:.1%} [{share['low']:.1%}, {share['high']:.1%}] "
        f"(real: {own[name]['intended']:.1%})."
        for path, shares in results["synthetic"].items()
        for name, share in shares.items()
    ]
    tables = [
        Table(
            f"Pictures by the class that the judge gives; {path}",
            ("", "pictures", "intended", *names),
            [
                (
                    name,
                    str(sum(share["given"].values())),
                    f"{share['intended']:.1%}",
                    *(str(share["given"][one]) for one in names),
                )
                for name, share in shares.items()
            ],
        )
        for path, shares in sets.items()
    ]
    return Summary(sentences, tables)


def _estimated(estimate: dict[str, float]) -> str:
    return _shown({"value": estimate["mean"], "low": estimate["low"], "high": estimate["high"]})


def _curve(record: Record) -> Summary:
    results = record["results"]
    shown, thesis = results["shown"], results["thesis"]
    insensitive = sorted(
        {
            f"{figure} ({name})"
            for name, by_step in results["classes"].items()
            for figures in by_step.values()
            for figure in shown
            if figure in figures and figures[figure]["sensitive"] is False
        }
    )
    sentences = [f"Controls do not stand clear, so these tell little: {', '.join(insensitive)}."] if insensitive else []
    for figure in (one for one in shown if one.startswith(("FID", "FD"))):
        courses = [
            [figures[figure]["fake"]["value"] for figures in by_step.values() if figure in figures]
            for by_step in results["classes"].values()
        ]
        fallen = sum(len(course) > 1 and course[-1] < course[0] for course in courses)
        sentences.append(
            f"{figure} is lower after the last than after the first steps in {fallen} of {len(courses)} classes."
        )
    tables = []
    for name, by_step in results["classes"].items():
        theirs = thesis.get(name)
        title = name if theirs is None else f"{name}, beside the thesis's table {theirs['table']}"
        measured = [figure for figure in shown if all(figure in figures for figures in by_step.values())]
        rows = []
        for steps, figures in by_step.items():
            cells = (
                f"{_shown(figures[figure]['fake'])}\nfloor {figures[figure]['floor']['value']:.3g}"
                for figure in measured
            )
            rows.append((f"{int(steps):,}", *cells, *_published(theirs and theirs["values"].get(steps))))
        tables.append(Table(title, ("steps", *measured, "thesis: FID", "thesis: IS"), rows))
    return Summary(sentences, [*tables, _means(results)])


def _means(results: dict[str, Any]) -> Table:
    classes, thesis = results["classes"], results["thesis"]
    measured = [
        figure
        for figure in results["shown"]
        if all(figure in figures for steps in classes.values() for figures in steps.values())
    ]
    rows = []
    for name, by_step in classes.items():
        means = (
            sum(figures[figure]["fake"]["value"] for figures in by_step.values()) / len(by_step) for figure in measured
        )
        rows.append((name, *(f"{mean:.3g}" for mean in means), *_published(name in thesis and thesis[name]["mean"])))
    rows.append(("all classes", *("" for _ in measured), *_published(results["thesis_overall"])))
    steps = sorted({int(steps) for by_step in classes.values() for steps in by_step})
    title = (
        f"Means over {', '.join(f'{one:,}' for one in steps)} steps, beside the thesis's table 3.7 (5,000 to 20,000)"
    )
    return Table(title, ("", *measured, "thesis: FID", "thesis: IS"), rows)


def _published(values: Any) -> tuple[str, str]:
    return ("-", "-") if not values else (f"{values[0]:.2f}", f"{values[1]:.2f}")


_KINDS: dict[str, Callable[[Record], Summary]] = {
    "score": _score,
    "copies": _copies,
    "morphology": _morphology,
    "utility": _utility,
    "judge": _judge,
    "curve": _curve,
}
