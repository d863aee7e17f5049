"""The commands of README and guides, run one after another with two classes on a tiny base.

Sizes and steps come from the tables below, and everything else is what a reader types.
"""

from __future__ import annotations

import json
import shlex
import shutil
from itertools import pairwise

import pytest

from tests.conftest import ROOT
from tests.docs.commands import blocks, commands, part_of

pytestmark = pytest.mark.slow

CLASSES = {"cyst": "cyt_mast", "fibroma": "cyt_nep_mast"}
"""The classes of the pages, and the phantoms that stand in for their pictures."""

SMALL = {
    ("trainer", "phantom"): {"--n": "4", "--size": "64"},
    ("trainer", "prepare"): {"--size": "32", "--n": "32"},
    ("trainer", "fit"): {"--steps": "4", "--batch-size": "4"},
    ("engine", "generate"): {"--n": "32", "--steps": "2"},
    ("engine", "upscale"): {"--steps": "2"},
    ("engine", "bench"): {"--rounds": "1", "--batch-size": "1", "--steps": "1"},
    ("evaluate", "score"): {"--splits": "10", "--bootstrap": "20"},
    ("evaluate", "probe"): {"--splits": "2"},
    ("evaluate", "blind"): {"--n": "8"},
    ("evaluate", "judge"): {"--steps": "2", "--size": "32"},
    ("evaluate", "utility"): {"--steps": "2", "--seeds": "1", "--size": "32"},
}
"""Values of options that make a command small; an option that the page leaves out is added."""

NAMES = {"neutrophil": "cyt_mast", "lymphocyte": "cyt_mast", "platelet": "cyt_nep_mast"}
"""Classes of the embedded bundle. What the pages run on it runs on the tiny bundle, with these classes."""

PARSED_ONLY = {
    ("engine", "doctor"): "tells about this machine",
    ("engine", "verify"): "checks the embedded bundle",
    ("evaluate", "weights"): "needs a network",
    ("exporter", "tensorrt"): "needs TensorRT",
    ("exporter", "verify"): "takes minutes; tests/exporter runs it",
    ("evaluate", "probe"): "needs 20 real pictures per class, and there are 12; tests/evaluate runs it",
    ("evaluate", "curve"): "exports each checkpoint; tests/evaluate runs it",
    ("trainer", "pretrain"): "trains a base; the tiny base was made by it",
}
NOT_HERE = ("--ray", "s3://bucket/cells", "tensorrt")
"""Words of commands that need a cluster, a store or a GPU."""


@pytest.fixture(scope="module")
def workspace(whole_path, tmp_path_factory):
    """The pictures that the pages ask for, and the tiny base in place of the embedded bundle's."""
    folder = tmp_path_factory.mktemp("reader")
    for name, phantom in CLASSES.items():
        pictures = sorted((whole_path / "phantom/pictures" / phantom).iterdir())
        halves = pictures[:12], pictures[12:]
        for places, chosen in zip(
            ((f"mine/{name}", f"real/{phantom}"), (f"kept/{name}", f"test/{phantom}")), halves, strict=True
        ):
            for place in places:
                (folder / place).mkdir(parents=True)
                for picture in chosen:
                    shutil.copy(picture, folder / place)
    shutil.copytree(whole_path / "base", folder / "base")
    return folder


def shrunk(part, arguments, tiny_bundle):
    """Return the arguments with small values, for the tiny bundle if they name none."""
    words = list(arguments)
    for name, ours in NAMES.items():
        words = [word.replace(name, ours) for word in words]
    if "--preset" in words:
        at = words.index("--preset")
        del words[at : at + 2]
    if part in ("trainer", "evaluate"):
        # The pages use the base that ships, which needs larger pictures.
        words = ["base" if word == "cells" and before == "--base" else word for before, word in pairwise(["", *words])]
    for flag, value in SMALL.get((part, words[0]), {}).items():
        if flag in words:
            words[words.index(flag) + 1] = value
        elif flag != "--n":
            words += [flag, value]
    if part == "engine" and "bundle" not in words:
        option = ["--bundle", str(tiny_bundle)]
        words += {"generate": option, "upscale": option, "png-info": [], "merge-runs": []}.get(
            words[0], [str(tiny_bundle)]
        )
    return words


def stand_in(folder, arguments, tiny_bundle):
    """Write the bundle of `adapt` and of `exporter onnx` without an export, which takes minutes: the tiny bundle, which
    the same commands have made, with the classes' names of the page."""
    for name in CLASSES if arguments[0] == "onnx" else ():
        assert (folder / "merged" / name / "class.json").is_file()
    bundle = shutil.copytree(tiny_bundle, folder / arguments[arguments.index("--out") + 1])
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["classes"] = {name: manifest["classes"][phantom] for name, phantom in CLASSES.items()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def expanded(words, folder):
    """Return the words with patterns such as records/* replaced by what they match."""
    return [
        found for word in words for found in (sorted(map(str, folder.glob(word))) if word.endswith("/*") else [word])
    ]


@pytest.fixture(scope="module")
def done():
    """The commands that a page before has run."""
    return set()


BALANCED = ROOT / "docs/guides/classifier-with-synthetic-data.md"
PAGES = [
    ROOT / "README.md",
    *(
        ROOT / f"docs/guides/{name}.md"
        for name in ("your-own-class", "evaluate", "first-cells", "from-a-picture", "cluster")
    ),
    BALANCED,
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_in_small(page, workspace, tiny_bundle, done, in_process, monkeypatch):
    """Pages run in this order, each in the folder that the page before has left."""
    monkeypatch.chdir(workspace)
    if page == BALANCED:
        shutil.rmtree(workspace / "cells")  # another run than that of the page before
    found = 0
    for command in commands(page):
        called = part_of(command.words)
        if called is None or (called[0], called[1][0]) in PARSED_ONLY or set(command.words) & set(NOT_HERE):
            continue
        found += 1
        part, arguments = called[0], shrunk(*called, tiny_bundle)
        if (key := (part, *arguments)) in done:
            continue
        done.add(key)
        if arguments[0] in ("adapt", "onnx"):
            stand_in(workspace, arguments, tiny_bundle)
            continue
        finished = in_process(part, *expanded(arguments, workspace))
        assert finished.returncode == 0, f"{command}\nran as {shlex.join(arguments)}\n{finished.stderr}"
    assert found > 2
    if page.stem == "README":
        assert (workspace / "report.html").is_file()
        for name in CLASSES:
            assert len(list((workspace / "synthetic" / name).glob("*.png"))) == 32


def test_the_python_examples_of_the_guide_run(workspace, tiny_bundle, monkeypatch, capsys):
    """The examples of "Embed the engine", on the tiny bundle."""
    monkeypatch.chdir(workspace)
    for block in blocks(ROOT / "docs/guides/embed-the-engine.md", "python"):
        code = block.replace('open("cells"', f'open("{tiny_bundle}"').replace("n=16)", f'n=16, bundle="{tiny_bundle}")')
        exec(code.replace("neutrophil", "cyt_mast").replace("lymphocyte", "cyt_nep_mast"), {})  # noqa: S102
    assert "32 ['cyt_mast', 'cyt_nep_mast'] (32, 32, 3) 0" in capsys.readouterr().out
