"""What other people's readers make of a run as it is: mlcroissant and Hugging Face's datasets.

Each runs in a process of its own: they leave files open, and the parser below mlcroissant warns of its own future.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.output.croissant import write_croissant

FORMATS = {"imagefolder": [], "webdataset": ["--format", "webdataset", "--shard-pictures", 4]}
CLASSES = ("cyt_mast", "cyt_nep_mast")


@pytest.fixture(scope="module")
def made(in_process, tiny_bundle, tmp_path_factory):
    """The same run in each format; not to be changed."""
    root = tmp_path_factory.mktemp("readers")
    words = ["--bundle", tiny_bundle, "--class", "all", "--n", 5, "--seed", 7, "--steps", 2]
    for file_format, extra in FORMATS.items():
        done = in_process("engine", "generate", *words, "--out", root / file_format, *extra)
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(params=FORMATS)
def run(request, made):
    """A format and its run."""
    return request.param, made / request.param


@pytest.fixture(scope="module")
def wanted(made):
    """Class, seed, mark and hash of the pixels of every picture, from the folders."""
    found = []
    for name in CLASSES:
        for index in range(5):
            with Image.open(made / f"imagefolder/{name}/{index:06d}.png") as picture:
                found.append([name, 7 + index, True, hashlib.sha256(np.asarray(picture).tobytes()).hexdigest()])
    return found


def read(script, *arguments, cache):
    """Run a reader; returns what it prints as JSON."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(cache), "CROISSANT_CACHE": str(cache)}
    reader = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(reader, capture_output=True, text=True, timeout=120, env={**os.environ, **offline})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


MLCROISSANT = """
import hashlib, json, sys
import mlcroissant
data = mlcroissant.Dataset(sys.argv[1])
cells = [
    [row["cells/class"].decode(), row["cells/seed"], row["cells/synthetic"],
     hashlib.sha256(row["cells/image"].convert("RGB").tobytes()).hexdigest()]
    for row in data.records("cells")
]
lines = [[row["lines/class"].decode(), row["lines/seed"], row["lines/synthetic"]] for row in data.records("lines")]
warnings = sorted(data.metadata.ctx.issues.warnings)
print(json.dumps({"cells": cells, "lines": lines, "warnings": warnings, "torch": "torch" in sys.modules}))
"""


def test_mlcroissant_validates_a_run_and_reads_its_records(run, wanted, tmp_path):
    _, out = run
    found = read(MLCROISSANT, out / "croissant.json", cache=tmp_path)
    assert sorted(found["cells"]) == sorted(wanted)
    assert found["lines"] == [row[:3] for row in wanted]
    # A run has no paper, no version and no day of publication.
    assert [word for word in ("citeAs", "datePublished", "version") if word not in str(found["warnings"])] == []
    assert len(found["warnings"]) == 3


def test_croissant_says_that_all_is_synthetic_and_whose_pictures_taught_it(run):
    file_format, out = run
    found = json.loads((out / "croissant.json").read_text())
    assert found["rai:hasSyntheticData"] is True
    assert found["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert found["license"] == ["CC0"]
    assert "drawn by cytosynth" in found["creditText"]
    hashed = {one["@id"]: one["sha256"] for one in found["distribution"] if "sha256" in one}
    names = ["metadata.jsonl", *sorted(path.name for path in out.glob("*.tar"))]
    assert hashed == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}
    assert len(names) == (1 if file_format == "imagefolder" else 4)


def test_mlcroissant_refuses_a_run_whose_metadata_was_changed(run, tmp_path):
    _, out = run
    for path in out.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes().replace(b'"seed": 7', b'"seed": 8'))
    with pytest.raises(AssertionError, match="not identical"):
        read(MLCROISSANT, tmp_path / "croissant.json", cache=tmp_path)


HUGGING_FACE = """
import hashlib, json, sys
import datasets
datasets.disable_progress_bars()
(data,) = datasets.load_dataset(sys.argv[1], **json.loads(sys.argv[2])).values()
rows = [{**row, **row.pop("json", {}), "image": row.get("image", row.get("png"))} for row in data]
print(json.dumps([
    [row["class"], row["seed"], row["synthetic"], hashlib.sha256(row["image"].convert("RGB").tobytes()).hexdigest()]
    for row in rows
]))
"""


def test_hugging_face_loads_the_folder_as_it_is(run, wanted, tmp_path):
    file_format, out = run
    options = {"imagefolder": {"data_dir": str(out)}, "webdataset": {"data_files": str(out / "*.tar")}}
    found = read(HUGGING_FACE, file_format, json.dumps(options[file_format]), cache=tmp_path)
    assert sorted(found) == sorted(wanted)
    if file_format == "imagefolder":
        assert read(HUGGING_FACE, out, "{}", cache=tmp_path) == found


@pytest.mark.parametrize("line", ["", "{", "[1]", '{"class": "a"}', '{"class": "a", "file_name": 1}', "[" * 100_000])
def test_a_record_that_is_none_is_refused_by_name(line, tmp_path):
    (tmp_path / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(RequestError, match=r"metadata\.jsonl"):
        write_croissant(tmp_path)
    assert not (tmp_path / "croissant.json").exists()
