"""The command `probe`: how well a linear classifier tells synthetic pictures from real ones."""

from __future__ import annotations

from engine.options import with_options
from engine.terminal import progress_bar
from evaluate.class_folders import FolderPair, open_pairs
from evaluate.cli.options import FakeClasses, Output, RealClasses, finish, locked
from evaluate.encoders.imagenet import Imagenet
from evaluate.report.inputs import describe_folder
from evaluate.report.records import check_out, make_record
from evaluate.studies.probe import DEFINITIONS, FEW, ProbeResults, ProbeSettings, check_sizes, probe

__all__ = ["probe_command"]


@with_options
@locked(lambda values: values["output"].out)
def probe_command(
    real: RealClasses,
    fake: FakeClasses,
    settings: ProbeSettings,
    output: Output,
) -> None:
    """Train a linear classifier to tell FAKE from REAL, and print its cross-validated accuracy.

    50 % means that the pictures cannot be told apart. Real pictures against other real pictures show what chance gives.
    Further rows show how well gradients, spectrum, colour or shape alone tell them apart.
    """
    check_out(output.out, "probe")
    encoder = Imagenet()
    pairs, warnings = open_pairs(real, fake)
    check_sizes(pairs, settings.n)
    inputs = {
        f"{side} {name}": describe_folder(folder)
        for name, pair in pairs.items()
        for side, folder in (("REAL", pair.real), ("FAKE", pair.fake))
    }
    classes = {}
    with progress_bar(bar_per_task=False) as progress:
        for name, pair in pairs.items():
            classes[name] = probe(encoder, pair.real, pair.fake, settings, progress)
    results = ProbeResults(settings, {encoder.name: encoder.sha256}, classes)
    for name, pair in pairs.items():
        warnings += _warnings(name, pair, results)
    record = make_record(
        f"Probe: {fake} against {real}",
        results,
        inputs=inputs,
        definitions=DEFINITIONS,
        warnings=warnings,
        libraries=("scikit-learn", "torch"),
    )
    finish(record, {}, output)


def _warnings(name: str, pair: FolderPair, results: ProbeResults) -> list[str]:
    found, real, fake = results.classes[name], pair.real, pair.fake
    warnings = []
    if found.n < FEW:
        warnings.append(f"{name}: N is {found.n}. Below {FEW} these accuracies say little. N is at most half of REAL.")
    if real.formats != fake.formats:
        passed = (
            f"Both sides passed through JPEG of quality {found.jpeg}, but an earlier compression can leave traces"
            if found.jpeg
            else "Compression gives pictures away"
        )
        warnings.append(
            f"{name}: REAL is saved as {' and '.join(real.formats)} and FAKE as {' and '.join(fake.formats)}. "
            f"{passed}. Save both sides in the same format."
        )
    if real.side != fake.side:
        warnings.append(
            f"{name}: REAL has pictures of {real.side} pixels and FAKE of {fake.side}. Both are compared at "
            f"{found.side} pixels, but the change of size gives the larger ones away."
        )
    if real.has_variants:
        warnings.append(
            f"{name}: REAL contains augmented copies. Copies of one source stay in one fold and on one side, but the "
            "change of their pixels can give them away."
        )
    return warnings
