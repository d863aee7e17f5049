"""The page of the blind test: what its source gives away, and what a reader's answers give."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from engine.errors import RequestError
from evaluate.class_folders import open_pairs
from evaluate.report.blind import choose_pictures, render_blind
from tests.evaluate.report.browser import chromium, needs_chromium


@pytest.fixture(scope="module")
def pairs(phantoms):
    return open_pairs(phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast")[0]


@pytest.fixture(scope="module")
def pictures(pairs):
    return choose_pictures(pairs, 20, seed=3)


def shown(picture):
    """Return the file behind a data URL, and its pixels."""
    file = base64.b64decode(picture.source.removeprefix("data:image/png;base64,"))
    return file, np.asarray(Image.open(io.BytesIO(file)))


@pytest.fixture(scope="module")
def truths(pairs, pictures):
    """Return for each picture whether its pixels are those of a synthetic file."""
    pair = pairs["cyt_mast"]
    known = {pixels.tobytes(): side for side, folder in enumerate((pair.real, pair.fake)) for pixels in folder.read()}
    return [known[shown(one)[1].tobytes()] for one in pictures]


def test_half_of_the_pictures_are_real_and_none_is_shown_twice(pictures, truths):
    assert sum(truths) == 10
    assert len({one.source for one in pictures}) == len(pictures)
    assert truths != sorted(truths)


def test_the_files_give_nothing_away(pictures):
    files = [shown(one)[0] for one in pictures]
    assert len({len(file) for file in files}) == 1
    for file in files:
        picture = Image.open(io.BytesIO(file))
        assert (picture.format, picture.mode, picture.size, picture.info) == ("PNG", "RGB", (64, 64), {})
    assert all(re.fullmatch(r"[0-9a-f]{8}", one.name) for one in pictures)


def test_the_seed_decides(pairs, pictures):
    assert choose_pictures(pairs, 20, seed=3) == pictures
    assert choose_pictures(pairs, 20, seed=4) != pictures


def test_classes_have_equal_numbers_on_both_sides(phantoms, tmp_path):
    """Otherwise a class that is rare on one side would give it away."""
    shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "fake" / "cyt_mast")
    (tmp_path / "fake" / "cyt_kist_mast").mkdir()
    for path in sorted((phantoms / "real" / "cyt_kist_mast").iterdir())[:4]:
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "fake" / "cyt_kist_mast" / path.name)
    pairs, _ = open_pairs(phantoms / "real", tmp_path / "fake")
    found = [shown(one)[1].tobytes() for one in choose_pictures(pairs, 14, seed=0)]
    counts = [
        len({pixels.tobytes() for pixels in folder.read()} & set(found))
        for pair in pairs.values()
        for folder in (pair.real, pair.fake)
    ]
    assert counts == [4, 4, 3, 3]
    with pytest.raises(RequestError, match="4 pictures of 4 sources"):
        choose_pictures(pairs, 20, seed=0)


def test_the_smaller_side_is_used_for_both_and_jpeg_for_different_formats(phantoms, tmp_path):
    for path in sorted((phantoms / "synthetic" / "cyt_mast").iterdir())[:4]:
        Image.open(path).resize((48, 48)).save(tmp_path / f"{path.stem}.jpg")
    pairs, _ = open_pairs(phantoms / "real" / "cyt_mast", tmp_path)
    found = [shown(one)[1] for one in choose_pictures(pairs, 8, seed=0)]
    assert {pixels.shape for pixels in found} == {(48, 48, 3)}


def test_an_odd_number_is_refused(pairs):
    with pytest.raises(RequestError, match="even"):
        choose_pictures(pairs, 7, seed=0)


def test_the_page_needs_no_other_file_and_escapes_its_subject(pictures):
    page = render_blind(pictures, "<b>cells</b>", 3)
    assert not re.findall(r'(?:href|src|url)\s*[=(]\s*"?(?:https?:|//|file:)', page)
    assert "<b>cells" not in page
    assert "default-src 'none'" in page


@needs_chromium
def test_a_browser_counts_the_answers(pictures, truths, tmp_path):
    """The reader is wrong in every fourth picture, once changes an answer, and uses buttons and keys in turn."""
    answers = [truth ^ (place % 4 == 0) for place, truth in enumerate(truths)]
    act = f"""
      const page = frame.contentDocument, by = name => page.getElementById(name);
      const press = key => page.dispatchEvent(new KeyboardEvent("keydown", {{ key }}));
      const answers = {json.dumps([int(one) for one in answers])};
      press("s"); by("undo").click();
      const first = by("count").textContent;
      answers.forEach((side, place) => {{
        if (place % 3 === 0) by(side ? "synthetic" : "real").click();
        else press(place % 3 === 1 ? "rs"[side] : ["ArrowLeft", "ArrowRight"][side]);
      }});
      const cells = [...page.querySelectorAll("td")].map(one => Number(one.textContent));
      document.title = JSON.stringify({{
        first, cells, accuracy: by("accuracy").textContent, over: by("test").hidden && !by("result").hidden,
        wrong: by("wrong").children.length, right: by("right").children.length,
        captions: [...by("wrong").querySelectorAll("figcaption")].map(one => one.textContent),
        decoded: [...page.querySelectorAll(".sheet img")].every(one => one.complete),
      }});"""
    source = render_blind(pictures, "a phantom", 3).replace("&", "&amp;").replace('"', "&quot;")
    page = tmp_path / "frame.html"
    frame = f'<iframe id="frame" width="900" height="900" srcdoc="{source}"></iframe>'
    page.write_text(f"<meta charset='utf-8'>{frame}<script>frame.onload = () => {{{act}}}</script>")
    title = re.search(
        r"<title>(.*?)</title>", chromium(tmp_path, "--virtual-time-budget=5000", "--dump-dom", page.as_uri())
    )
    assert title
    found = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["first"] == "Picture 1 of 20"
    assert found["over"]
    low, high = binomtest(15, 20).proportion_ci(0.95, "wilson")
    assert found["accuracy"] == f"Accuracy: 75.0 % [{100 * low:.1f}, {100 * high:.1f}], 15 of 20 pictures right."
    pairs = list(zip(truths, answers, strict=True))
    assert found["cells"] == [pairs.count((truth, answer)) for truth in (0, 1) for answer in (0, 1)]
    assert (found["wrong"], found["right"]) == (5, 15)
    names = ["real", "synthetic"]
    assert found["captions"] == [
        f"{names[truth]}, called {names[answer]}" for truth, answer in pairs if truth != answer
    ]
