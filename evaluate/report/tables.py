"""Sentences and tables that summarise a record, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluate.report.records import Record
from evaluate.studies.copies import CopiesResults
from evaluate.studies.curve import CurveResults
from evaluate.studies.judge import Verdict
from evaluate.studies.memorisation import Memorisation
from evaluate.studies.morphology import TITLES, Comparison, Morphology, is_far
from evaluate.studies.probe import ProbeResults, Told
from evaluate.studies.score import CONTROLS, REPEATED, Figure, Score, ScoreResults
from evaluate.studies.texture import TITLES as TEXTURES
from evaluate.studies.utility import Utility
from evaluate.studies.utility_figures import Estimate

__all__ = ["Summary", "Table", "summarise"]


LEADING = ("FD-imagenet", "FD-cyto")
"""The distance that the verdict of a score names: the first that was measured. FD-cyto does not see texture."""


@dataclass(frozen=True)
class Table:
    """Rows of text under a title. The first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Summary:
    """What a record says, from the one sentence that a reader needs first to what only some readers need."""

    verdict: str
    """The result in one sentence."""
    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What was not measured, and what it needs."""


def summarise(record: Record) -> Summary:
    """Return the summary of a record of any kind."""
    results = record.results
    if isinstance(results, ScoreResults):
        return _score(results, has_other="--other" in record.inputs)
    if isinstance(results, ProbeResults):
        return _probe(results)
    if isinstance(results, CopiesResults):
        return _copies(results, record.inputs["FAKE"].pictures)
    if isinstance(results, Morphology):
        return _morphology(results)
    if isinstance(results, Utility):
        return _utility(results)
    if isinstance(results, Verdict):
        return _judge(results)
    return _curve(results)


def _score(results: ScoreResults, has_other: bool) -> Summary:
    figures = results.figures
    distances = {name: found for name, found in figures.items() if name.startswith(("FID", "FD"))}
    lead = next(name for name in (*LEADING, *distances) if name in distances)
    in_floors = {name: found.fake.value / found.floor.value for name, found in distances.items()}
    verdict = (
        f"Synthetic pictures are {in_floors[lead]:.3g} floors from real ones: {lead} is "
        f"{distances[lead].fake.value:.3g}, and {distances[lead].floor.value:.3g} between two samples of real pictures."
    )
    sentences = [f"{name} is {in_floors[name]:.3g} times the floor." for name in distances if name != lead]
    sentences += [
        f"The feature set {name} is INSENSITIVE for these pictures: {words}."
        for name, words in results.insensitive.items()
    ] or ["Every control that was measured stands clear of the floor."]
    missing = [] if has_other else ["The control `another class` was not measured: give --other DIR."]
    if any("ten repeated reals" not in found.controls for found in figures.values()):
        missing.append(f"The control `ten repeated reals` was not measured: it needs N of at least {2 * REPEATED}.")
    missing += [f"{name} was not measured: it {words}." for name, words in results.not_measured.items()]
    title = f"N = {results.n}, {results.splits} splits [5 %, 95 %]"
    controls = [one for one in CONTROLS if any(one in found.controls for found in figures.values())]
    with_base = any(found.base is not None for found in figures.values())
    header = ("", "floor (real)", "synthetic", *(["base"] if with_base else []), *controls)
    rows = []
    for name, found in figures.items():
        base = [] if found.base is None else [_shown(found.base)]
        shown = (_shown(found.floor), _shown(found.fake), *base, *(_control(found, control) for control in controls))
        rows.append((name, *shown))
    return Summary(verdict, sentences, [Table(title, header, rows)], missing)


def _control(found: Score, control: str) -> str:
    mark = "" if not found.clear else " clear" if found.clear[control] else " NOT CLEAR"
    return _shown(found.controls[control], mark)


def _shown(figure: Figure, mark: str = "") -> str:
    return f"{figure.value:.3g}{mark}\n[{figure.low:.3g}, {figure.high:.3g}]"


def _probe(results: ProbeResults) -> Summary:
    sentences = []
    told = {name: found.accuracies["imagenet"].synthetic.value for name, found in results.classes.items()}
    worst = max(told, key=lambda name: told[name])
    verdict = (
        f"A linear classifier tells synthetic from real pictures in {sum(told.values()) / len(told):.1%} of cases"
        f"{'' if len(told) == 1 else f', the mean of {len(told)} classes; most easily {worst}, {told[worst]:.1%}'}. "
        "50 % would be chance."
    )
    for name, found in results.classes.items():
        one = found.accuracies["imagenet"]
        sentences.append(
            f"{name}: a linear classifier tells synthetic from real pictures in {one.synthetic.value:.1%} "
            f"[{one.synthetic.low:.1%}, {one.synthetic.high:.1%}], and real from other real pictures in "
            f"{one.control.value:.1%} [{one.control.low:.1%}, {one.control.high:.1%}]."
        )
    names = list(next(iter(results.classes.values())).accuracies)
    rows = [
        (f"{name}, N = {found.n}", *(_accuracies(found.accuracies[one]) for one in names))
        for name, found in results.classes.items()
    ]
    title = "Accuracy of a linear classifier: real from synthetic, below it real from real [90 %]"
    return Summary(verdict, sentences, [Table(title, ("", *names), rows)])


def _accuracies(told: Told) -> str:
    return "\n".join(
        f"{100 * one.value:.1f} % [{100 * one.low:.0f}, {100 * one.high:.0f}]" for one in (told.synthetic, told.control)
    )


def _copies(results: CopiesResults, pictures: int) -> Summary:
    sentence = (
        f"Copies: {len(results.copies)} of {pictures} pictures, {results.rate:.1%} "
        f"[{results.rate_low:.1%}, {results.rate_high:.1%}]; among held-out real pictures {results.held_out_rate:.1%}. "
        f"Threshold: {results.threshold:.3f}."
    )
    rows = [(pair.synthetic, pair.training, _compared(pair.distance, results.threshold)) for pair in results.closest]
    tables = [Table("The closest pairs", ("synthetic", "nearest training picture", "distance"), rows)]
    sentences = [] if results.memorisation is None else [_memorisation(results.memorisation)]
    if results.own is None:
        return Summary(sentence, sentences, tables)
    own = results.own
    rows = [
        (pair.synthetic, pair.initial, _compared(pair.distance, results.threshold))
        for pair in own.pairs[: len(results.closest)]
    ]
    tables.append(Table("The closest to their own initial picture", ("synthetic", "initial picture", "distance"), rows))
    words = (
        f"Closer to their own initial picture than the threshold: {own.closer} of {own.pictures} derived pictures, "
        f"{own.share:.1%} [{own.share_low:.1%}, {own.share_high:.1%}]. They count as copies."
    )
    return Summary(sentence, [words, *sentences], tables)


def _memorisation(found: Memorisation) -> str:
    gap, told = found.gap, found.told_apart
    return (
        f"Likelihood in bits per dimension: {found.training.mean:.3f} of {found.training.pictures} training pictures, "
        f"{found.held_out.mean:.3f} of {found.held_out.pictures} held-out pictures. Gap {gap.value:.3f} "
        f"[{gap.low:.3f}, {gap.high:.3f}]; told apart by it {told.value:.0%} [{told.low:.0%}, {told.high:.0%}], "
        "where 0 and 50 % mean no memorisation."
    )


def _compared(distance: float, threshold: float) -> str:
    return f"{distance:.3f}" + (" copy" if distance < threshold else "")


def _morphology(results: Morphology) -> Summary:
    sentences, tables = [], []
    for words, measures, titles in (
        ("shape and stain", results.measures, TITLES),
        ("texture", results.texture, TEXTURES),
    ):
        if measures:
            far = sum(is_far(one.distance, one.floor) for one in measures.values())
            sentences.append(
                f"{far} of {len(measures)} measures of {words} are more than three floors away from the real ones."
            )
            tables.append(_measured(words, measures, titles))
    return Summary(" ".join(sentences), [], tables)


def _measured(words: str, measures: Mapping[str, Comparison], titles: Mapping[str, str]) -> Table:
    rows = []
    for name, one in measures.items():
        in_sd = (
            "real values all equal" if value is None else f"{value:.2f}"
            for value in (one.distance_in_sd, one.floor_in_sd)
        )
        means = (f"{sum(values) / len(values):.3g}" for values in (one.real, one.synthetic))
        rows.append((titles[name], *means, _shown(Figure(one.distance, *one.interval)), f"{one.floor:.3g}", *in_sd))
    header = ("", "real, mean", "synthetic, mean", "distance [90 %]", "floor", "distance / sd", "floor / sd")
    least = min(one.n for one in measures.values())
    return Table(f"Wasserstein distances between real and synthetic, {words}, N = {least} or more", header, rows)


def _utility(results: Utility) -> Summary:
    settings = results.settings
    gains = []
    sentences = [
        f"Every arm: {settings.steps} steps of {settings.batch_size} pictures of {settings.size} x {settings.size}, "
        f"{len(settings.seeds)} seeds."
    ]
    tables = []
    if (choice := results.variations) is not None and choice.scores:
        sentences.append(
            f"Of {len(choice.scores)} sets of variations, {choice.chosen} was chosen: {choice.folds}-fold "
            f"cross-validation on the real training pictures, {choice.seeds} seeds, no held-out picture."
        )
        scores = [
            (name + (" (chosen)" if name == choice.chosen else ""), f"{score:.3f}")
            for name, score in choice.scores.items()
        ]
        tables.append(Table("Left-out real training pictures", ("variations", "balanced accuracy"), scores))
    for row, found in results.rows.items():
        header = ("", "balanced accuracy", "accuracy", "AUC")
        rows = [
            (name, _estimated(arm.balanced_accuracy), _estimated(arm.accuracy), _estimated(arm.auc))
            for name, arm in found.arms.items()
        ]
        tables.append(Table(f"Held-out real pictures; {row} [5 %, 95 %]", header, rows))
        recalls = [(name, *map(_estimated, arm.recall.values())) for name, arm in found.arms.items()]
        tables.append(Table(f"Recall of each class; {row} [5 %, 95 %]", ("", *results.class_names), recalls))
        for name, gain in found.gains.items():
            low, high = (f"{100 * end:+.1f}" for end in (gain.low, gain.high))
            gains.append(
                f"{row}: the gain of {name} over real + classical is {100 * gain.mean:+.1f} points of balanced "
                f"accuracy [{low}, {high}]."
            )
    verdict, *others = gains or ["No gain was measured: there is one arm only."]
    return Summary(verdict, others + sentences, tables)


def _estimated(estimate: Estimate) -> str:
    return _shown(Figure(estimate.mean, estimate.low, estimate.high))


def _judge(results: Verdict) -> Summary:
    names, own = results.class_names, results.held_out
    sets = {"held-out real pictures": own, **results.synthetic}
    shares = [share.intended for found in results.synthetic.values() for share in found.values()]
    verdict = (
        f"The judge gives their own class to {sum(shares) / len(shares):.1%} of synthetic pictures and to "
        f"{results.held_out_accuracy:.1%} of held-out real pictures (balanced)."
    )
    sentences = [
        f"{path}: {name} is given its own class in {share.intended:.1%} [{share.low:.1%}, {share.high:.1%}] "
        f"(real: {own[name].intended:.1%})."
        for path, shares in results.synthetic.items()
        for name, share in shares.items()
    ]
    tables = [
        Table(
            f"Pictures by the class that the judge gives; {path}",
            ("", "pictures", "intended", *names),
            [
                (
                    name,
                    str(sum(share.given.values())),
                    f"{share.intended:.1%}",
                    *(str(share.given[one]) for one in names),
                )
                for name, share in shares.items()
            ],
        )
        for path, shares in sets.items()
    ]
    return Summary(verdict, sentences, tables)


def _curve(results: CurveResults) -> Summary:
    insensitive = sorted(
        {
            f"{figure} ({name})"
            for name, by_step in results.classes.items()
            for figures in by_step.values()
            for figure in results.shown
            if figure in figures and figures[figure].sensitive is False
        }
    )
    sentences = []
    for figure in (one for one in results.shown if one.startswith(("FID", "FD"))):
        courses = [
            [figures[figure].fake.value for figures in by_step.values() if figure in figures]
            for by_step in results.classes.values()
        ]
        fallen = sum(len(course) > 1 and course[-1] < course[0] for course in courses)
        sentences.append(
            f"{figure} is lower after the last step than after the first in {fallen} of {len(courses)} classes."
        )
    verdict, *others = sentences or ["No distance was measured at two numbers of steps."]
    if insensitive:
        others.append(f"These figures say little, because a control is not clear: {', '.join(insensitive)}.")
    return Summary(verdict, others, [*(_course(results, name) for name in results.classes), _means(results)])


def _course(results: CurveResults, name: str) -> Table:
    """One class: its figures after each number of steps."""
    by_step, theirs = results.classes[name], results.thesis.get(name)
    title = name if theirs is None else f"{name}, beside the thesis's table {theirs.table}"
    measured = [figure for figure in results.shown if all(figure in figures for figures in by_step.values())]
    rows = []
    for steps, figures in by_step.items():
        cells = (f"{_shown(figures[figure].fake)}\nfloor {figures[figure].floor.value:.3g}" for figure in measured)
        rows.append((f"{steps:,}", *cells, *_published(None if theirs is None else theirs.values.get(steps))))
    return Table(title, ("steps", *measured, "thesis: FID", "thesis: IS"), rows)


def _means(results: CurveResults) -> Table:
    classes, thesis = results.classes, results.thesis
    measured = [
        figure
        for figure in results.shown
        if all(figure in figures for steps in classes.values() for figures in steps.values())
    ]
    rows = []
    for name, by_step in classes.items():
        means = (sum(figures[figure].fake.value for figures in by_step.values()) / len(by_step) for figure in measured)
        rows.append(
            (name, *(f"{mean:.3g}" for mean in means), *_published(thesis[name].mean if name in thesis else None))
        )
    rows.append(("all classes", *("" for _ in measured), *_published(results.thesis_overall)))
    steps = sorted({steps for by_step in classes.values() for steps in by_step})
    title = (
        f"Means over {', '.join(f'{one:,}' for one in steps)} steps, beside the thesis's table 3.7 (5,000 to 20,000)"
    )
    return Table(title, ("", *measured, "thesis: FID", "thesis: IS"), rows)


def _published(values: tuple[float, float] | None) -> tuple[str, str]:
    return ("-", "-") if values is None else (f"{values[0]:.2f}", f"{values[1]:.2f}")
