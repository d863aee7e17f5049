"""README, guides and reference: their commands exist, their links lead somewhere, the site can be built."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shlex
import subprocess
import sys

import pytest

from engine.output.infotext import SAMPLER_NAMES
from engine.sampling.samplers import LANGEVIN, SAMPLERS, plan_steps
from engine.sampling.schedules import NoiseSchedule
from recipes.site.command_lines import APPS
from tests.conftest import ROOT
from tests.docs.commands import PAGES, Command, blocks, check, commands

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NOISE = NoiseSchedule(0.00085, 0.012, 1000)
ELSEWHERE = ("http://", "https://")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_exists_with_its_options(page):
    for command in commands(page):
        try:
            check(command)
        except Exception as error:
            pytest.fail(f"{command}: {error}")


@pytest.mark.parametrize(
    "words",
    [
        "engine generate --class all --number 3",
        "engine draw",
        "python -m trainer merge hypernetworks/cyst.safetensors",
        "python -m exporter onnx merged/cyst --out bundle --guidance 2",
        "python -m evaluate score unseen/cyst",
        "python -m evaluate score unseen/cyst synthetic/cyst --n many",
        "python -m recipes.no_such_script",
        "python recipes/examples/classifier.py real test --tensors cells",
        "make reports2",
        "pip install 'cytosynth[no-such-extra]'",
        "rm -rf out",
    ],
)
def test_a_wrong_command_is_found(words):
    with pytest.raises(Exception, match=r".+"):
        check(Command(ROOT / "README.md", tuple(shlex.split(words))))


def test_the_reference_lists_every_sampler_with_its_evaluations():
    text = (ROOT / "docs/reference/engine.md").read_text(encoding="utf-8").split("\n## Samplers\n")[1]
    head, *lines = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("| `")]
    assert "`--sampler`" in head
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {name.split("`")[1] for name, *_ in rows} == {*SAMPLERS}
    for name, shown, schedule, _, evaluations, noise, _ in rows:
        sampler = name.split("`")[1]
        assert schedule == f"`{SAMPLERS[sampler].schedule}`"
        assert shown in (SAMPLER_NAMES[sampler], "")
        if sampler != LANGEVIN:
            plan = plan_steps(NOISE, sampler=sampler, schedule=schedule.strip("`"), num_inference_steps=20)
            wanted = {"N": 20, "N + 1": 21, "2N - 1": 39}[evaluations]
            assert (len(plan.rows), any(row.draws for row in plan.rows)) == (wanted, noise == "yes"), sampler


def test_readme_is_short_and_names_the_commands_to_start_with():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert {"demo", "install"} <= {command.words[1] for command in commands(PAGES[0]) if command.words[0] == "make"}
    assert "make test" in text
    assert "make docs" in text


def test_every_guide_is_in_the_readme_and_on_the_first_page():
    for page in (ROOT / "README.md", ROOT / "docs/index.md"):
        text = page.read_text(encoding="utf-8")
        assert [guide.name for guide in ROOT.glob("docs/guides/*.md") if f"guides/{guide.name}" not in text] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    missing = []
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(ELSEWHERE):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target) | generated(target)):
            missing.append(link)
    assert missing == []


def anchors(page):
    """Return the anchors of a page's headings, as Markdown and GitHub make them."""
    headings = HEADING.findall(CODE.sub(lambda found: found[0].strip("`"), page.read_text(encoding="utf-8")))
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())) for heading in headings}


def test_the_model_card_has_a_table_and_a_small_picture_per_class():
    text = (ROOT / "docs/model-card.md").read_text(encoding="utf-8")
    manifest = json.loads((ROOT / "engine/bundles/cells/manifest.json").read_text(encoding="utf-8"))
    for name in manifest["classes"]:
        (section,) = re.findall(rf"\n### {name}\n!\[(.*?)(?=\n##|\Z)", text, re.DOTALL)
        assert section.count("\n| measure | ") == 1
        assert (ROOT / f"docs/model-card/{name}.jpg").stat().st_size < 40_000
    digest = hashlib.sha256((ROOT / "engine/bundles/cells/manifest.json").read_bytes()).hexdigest()
    assert digest[:12] in text, "the model card is of another bundle: write it again with recipes/model_card.py"


def generated(page):
    """Return the anchors that a page has only when the site is built."""
    return {"engine", *(f"python-m-{part}" for part in APPS)} if page.name == "command-lines.md" else set()


def test_python_examples_are_python():
    for page in PAGES:
        for block in blocks(page, "python"):
            ast.parse(block)


def test_the_site_is_built_without_broken_links_and_loads_nothing_from_another_host(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 20
    loaded = re.compile(r"<(?:script|img|link|source|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+")
    assert {path.name: found for path, text in pages.items() if (found := loaded.findall(text))} == {}
    reference = next(text for path, text in pages.items() if path.name == "command-lines.html")
    assert "--guidance-scale" in reference
    assert "--layer-structure" in reference
    assert any("ChunkShuffle" in text for path, text in pages.items() if path.name == "python-api.html")
