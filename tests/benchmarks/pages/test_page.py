"""Every record has its section on the benchmark page, and the same records make the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys

from benchmarks.pages.published import BENCHMARKS_PAGE
from tests.conftest import ROOT

PUBLISHED = ROOT / "docs/benchmarks"


def make_page(records, page):
    command = [sys.executable, "-m", "benchmarks.pages.page", records, page]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=ROOT)


def front_of(**settings):
    """A record of front.py: (pictures a second, FD-cyto) by setting."""

    def distance(value):
        return {"fake": {"value": value, "low": 0.9 * value, "high": 1.1 * value}}

    return {
        "machine": {"processor": "some", "cores": 2},
        "version": "0.1.0",
        "backend": "some 1.2 on some processor",
        "batch_size": 4,
        "bundle_sha256": "0" * 64,
        "real": "settings",
        "settings": {
            name.replace("_", " "): {
                "unet_rows": 40,
                "seconds": [2.0, 2.1],
                "options": ["--steps", "20"],
                "pictures_per_second": rate,
                "times_the_default": rate / 2,
                "classes": {"cyst": {"n": 50, "FD-cyto": distance(fd), "KD-cyto": distance(fd / 100)}},
                "within": fd <= 11,
            }
            for name, (rate, fd) in settings.items()
        },
    }


def test_every_record_has_its_part_of_the_page_and_its_plot(tmp_path):
    (tmp_path / "stages.json").write_bytes((PUBLISHED / "stages.json").read_bytes())
    scaling = {"machine": {"processor": "some", "cores": 2}, "options": ["--class", "cyst"], "peak_mb": 351.2}
    shipped = hashlib.sha256((ROOT / "engine/bundles/cells/manifest.json").read_bytes()).hexdigest()
    scaling |= {"version": "0.1.0", "request": {"bundle_sha256": shipped}}
    rates = {"1": 0.5, "100": 4.0}
    scaling |= {"seconds": {"1": [2.0, 2.2, 1.9], "100": [25.0]}, "pictures_per_second": rates}
    (tmp_path / "scaling.json").write_text(json.dumps(scaling))
    front = front_of(default=(2.0, 10.0), preset_fast=(6.5, 10.5), **{"6_steps,_no_guidance": (9.0, 30.0)})
    (tmp_path / "front.json").write_text(json.dumps(front))
    pages = []
    for name in ("one.md", "two.md"):
        make_page(tmp_path, tmp_path / name)
        plots = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
        pages.append(((tmp_path / name).read_text(), plots))
    text, plots = pages[0]
    assert pages[1] == pages[0]
    assert set(plots) == {"stages.svg", "scaling.svg", "front_cyst.svg"}
    assert "| 100 | 25.0 | 1 | 4.00 |" in text
    assert f"bundle with SHA-256 {shipped[:12]}, the shipped bundle." in text
    other = "cytosynth 0.1.0, some 1.2; batch 4, 2 rounds; bundle with SHA-256 000000000000, not the shipped bundle;"
    assert text.count(other) == 1
    assert "| default | 40 | 2.00 | 1.00 | 10 [9, 11], 0.1 [0.09, 0.11] | yes |" in text
    assert "| preset fast | 40 | 6.50 | 3.25 | 10.5, 0.105 | yes |" in text
    assert "| 6 steps, no guidance | 40 | 9.00 | 4.50 | 30, 0.3 | no |" in text
    (measured, *_) = json.loads((tmp_path / "stages.json").read_text())["measured"]
    assert f"| {measured['runtime']} | {measured['batch_size']} | {measured['picture_ms']:.1f} |" in text


def test_stages_that_were_guided_throughout(tmp_path):
    stages = json.loads((PUBLISHED / "stages.json").read_text())
    stages["request"] |= {"guidance_interval": None, "guidance_scale": 2.0}
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    make_page(tmp_path, tmp_path / "page.md")
    assert f"guidance 2, {stages['rounds']} rounds" in (tmp_path / "page.md").read_text()


def test_the_published_page_is_made_from_the_published_records(tmp_path):
    published = {path.name: path.read_bytes() for path in (PUBLISHED / "plots").iterdir()}
    shutil.copytree(PUBLISHED, tmp_path / "benchmarks")
    shutil.rmtree(tmp_path / "benchmarks/plots")
    make_page(tmp_path / "benchmarks", tmp_path / BENCHMARKS_PAGE.name)
    plots = {path.name: path.read_bytes() for path in (tmp_path / "benchmarks/plots").iterdir()}
    assert plots == published

    def without_links(text):
        return re.sub(r"\]\([^)]*\)", "]", text)

    made = (tmp_path / BENCHMARKS_PAGE.name).read_text()
    assert without_links(made) == without_links(BENCHMARKS_PAGE.read_text())
