"""The HTML report: whole in a browser, on a phone and in print, and safe with any text."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from engine.errors import RequestError
from evaluate.report.html import render_report
from evaluate.report.records import read_record
from tests.evaluate.report.browser import chromium, needs_chromium


@pytest.fixture(scope="module")
def report(records, in_process, tmp_path_factory):
    """The file that the command writes."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    folders = [records / name for name in ("score", "probe", "copies", "morphology", "utility")]
    done = in_process(
        "evaluate", "report", *folders, "--out", out, "--title", "Mastopathy & <others>", "--note", "Drawn."
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_report_holds_figures_definitions_commands_and_hashes(report, records):
    text = report.read_text()
    for name in ("score", "probe", "copies", "morphology", "utility"):
        record = read_record(records / name)
        for folder in record.inputs.values():
            assert folder.sha256 in text
        for words in record.definitions:
            assert f"<dt>{words}</dt>" in text
    assert "python -m evaluate score" in text
    assert "floor (real)" in text
    assert "Mastopathy &amp; &lt;others&gt;" in text
    assert "Drawn." in text


def test_the_report_needs_no_other_file_and_no_network(report):
    text = report.read_text()
    assert set(re.findall(r'src="(\w+):', text)) == {"data"}
    assert not re.findall(r'(?:href|src|url)\s*[=(]\s*"?(?:https?:|//|file:)', text)
    assert "<script" not in text


def test_real_pictures_can_be_left_out(records):
    folders = [records / "score", records / "copies"]
    whole, without = (render_report(folders, "title", real_pictures=choice) for choice in (True, False))
    assert len(re.findall("data:image", whole)) - len(re.findall("data:image", without)) == 2
    assert without.count("Left out: it shows real pictures") == 2


def test_a_record_with_a_broken_picture_is_refused(records, tmp_path):
    copy = shutil.copytree(records / "score", tmp_path / "score")
    (copy / "real.png").write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"record\.json"):
        render_report([copy], "title")


def test_names_cannot_write_into_the_page(records, tmp_path):
    copy = shutil.copytree(records / "score", tmp_path / "score")
    record = json.loads((copy / "record.json").read_text())
    record["title"] = record["command"] = record["warnings"][0] = "<script>alert(1)</script>"
    record["images"][0]["caption"] = '" onerror="alert(1)'
    (copy / "record.json").write_text(json.dumps(record))
    text = render_report([copy], "title")
    assert "<script" not in text
    assert '" onerror="' not in text


@needs_chromium
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_all_of_it(width, report, tmp_path):
    """In a frame of this width every image decodes, and only the boxes of tables scroll sideways."""
    measure = """
      const page = frame.contentDocument, images = [...page.images];
      const wide = [...page.querySelectorAll("body *")].filter(one => !one.closest(".scroll"))
        .filter(one => one.getBoundingClientRect().right > page.documentElement.clientWidth + 1);
      document.title = JSON.stringify({
        images: images.length,
        broken: images.filter(one => !one.complete || !one.naturalWidth).length,
        tables: page.querySelectorAll("table").length,
        wide: wide.map(one => one.tagName + " " + one.textContent.slice(0, 40)),
        overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
        headings: [...page.querySelectorAll("h1, h2")].map(one => one.textContent),
      });"""
    source = report.read_text().replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe id="frame" width="{width}" height="900" srcdoc="{source}"></iframe>'
    page = tmp_path / "frame.html"
    page.write_text(f"<meta charset='utf-8'>{frame}<script>frame.onload = () => {{{measure}}}</script>")
    shown = chromium(tmp_path, "--virtual-time-budget=5000", "--dump-dom", page.as_uri())
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title, shown[:500]
    found = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["images"] == 9
    assert found["broken"] == 0
    assert found["tables"] == 7
    assert found["wide"] == []
    assert found["overflow"] <= 0
    assert found["headings"][0] == "Mastopathy & <others>"
    assert found["headings"][1] == "Verdict"
    assert found["headings"][2].startswith("Probe:")
    assert found["headings"][-1] == "Definitions"


@needs_chromium
def test_the_report_can_be_printed(report, tmp_path):
    out = tmp_path / "report.pdf"
    chromium(tmp_path, f"--print-to-pdf={out}", report.as_uri())
    content = out.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3
