"""WebDataset shards, and the description in a PNG file: writing it, and reading it from untrusted files."""

from __future__ import annotations

import hashlib
import json
import shlex
import string
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.cli.png_info import read_png
from engine.errors import RequestError
from engine.output.formats import WebDataset, encode_png, make_output, shard_counts
from engine.output.sheet import write_sheet


def run(command, bundle, out, *extra):
    arguments = ["--bundle", bundle, "--class", "all", "--n", 7, "--seed", 5, "--steps", 3, "--out", out]
    done = command("engine", "generate", *arguments, *extra, "--json")
    assert done.returncode == 0, done.stderr
    return done


def samples(folder):
    """Every picture of the shards: (key, pixels, class number, description)."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            for png, number, text in zip(*(members[i::3] for i in range(3)), strict=True):
                assert (png.name.removesuffix(".png") + ".cls", png.name.removesuffix(".png") + ".json") == (
                    number.name,
                    text.name,
                )
                with Image.open(tar.extractfile(png)) as picture:
                    pixels = np.asarray(picture)
                description = json.load(tar.extractfile(text))
                found.append((png.name[:-4], pixels, int(tar.extractfile(number).read()), description))
    return found


def test_shards_hold_the_pictures_of_the_folders(command, tiny_bundle, tmp_path):
    run(command, tiny_bundle, tmp_path / "folders")
    run(command, tiny_bundle, tmp_path / "shards", "--format", "webdataset", "--shard-pictures", 5)
    assert [path.name for path in sorted((tmp_path / "shards").glob("*.tar"))] == [
        f"bundle-00000{i}.tar" for i in range(3)
    ]
    found = samples(tmp_path / "shards")
    assert len(found) == 14
    for key, pixels, number, description in found:
        name, index = key.rsplit("_", 1)
        assert number == ["cyt_mast", "cyt_nep_mast"].index(name)
        assert (description["class"], description["seed"]) == (name, 5 + int(index))
        with Image.open(tmp_path / f"folders/{name}/{index}.png") as picture:
            np.testing.assert_array_equal(pixels, np.asarray(picture))
    info = json.loads((tmp_path / "shards/_info.json").read_text())["splits"]["train"]
    assert info["shard_lengths"] == [5, 5, 4]
    assert info["num_samples"] == 14
    assert (tmp_path / "shards/sheet.png").read_bytes() == (tmp_path / "folders/sheet.png").read_bytes()


WEBDATASET_READER = """
import hashlib, sys, webdataset
shards = webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode("rgb8")
for pixels, number, description in shards.to_tuple("png", "cls", "json"):
    print(hashlib.sha256(pixels.tobytes()).hexdigest(), pixels.shape, number, description)
"""


def test_webdatasets_own_reader_takes_the_shards(command, tiny_bundle, tmp_path):
    run(command, tiny_bundle, tmp_path, "--format", "webdataset", "--shard-pictures", 5)
    # In a process of its own: the reader leaves files open.
    reader = [sys.executable, "-c", WEBDATASET_READER, *sorted(tmp_path.glob("*.tar"))]
    done = subprocess.run(reader, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    wanted = [
        f"{hashlib.sha256(pixels.tobytes()).hexdigest()} {pixels.shape} {number} {description}"
        for _, pixels, number, description in samples(tmp_path)
    ]
    assert len(wanted) == 14
    assert done.stdout.splitlines() == wanted


def make_shards(folder, done, stop):
    """Write pictures done..stop of a run of 11, in shards of 4; returns whether the run is complete."""
    metadata = folder / "metadata.jsonl"
    rows = metadata.read_text().splitlines() if metadata.exists() else []
    metadata.write_text("".join(row + "\n" for row in rows[:done]))
    with WebDataset(folder, "x", per_shard=4, done=done, written=shard_counts(metadata)) as writer:
        for i in range(done, stop):
            name = writer.write(i, i, 0, bytes([i]) * (600 * i + 1), {"class": "c", "seed": i})
            writer.flush()
            with metadata.open("a") as file:
                file.write(json.dumps({"file_name": name}) + "\n")
        if stop == 11:
            writer.finish()


@pytest.mark.parametrize(
    ("stop", "known"), [(2, 2), (3, 2), (6, 3), (6, 4), (6, 6), (8, 8), (9, 4), (9, 8), (11, 10), (11, 11)]
)
def test_a_shard_that_was_cut_off_ends_as_a_whole_one(stop, known, tmp_path):
    """A killed run wrote `stop` pictures, and metadata.jsonl lists `known` of them."""
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    make_shards(tmp_path / "whole", 0, 11)
    make_shards(tmp_path / "cut", 0, stop)
    make_shards(tmp_path / "cut", known, 11)
    whole, cut = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())} for name in ("whole", "cut")
    )
    assert whole == cut


@pytest.mark.parametrize("arguments", [("zip", None), ("imagefolder", 5), ("webdataset", 0)])
def test_wrong_formats_are_refused(arguments, tmp_path):
    file_format, shard_pictures = arguments
    with pytest.raises(RequestError, match="--format"):
        make_output(tmp_path, file_format, 128, 128, shard_pictures, overwrite=False)


def test_png_info_gives_the_command_that_makes_the_picture_again(command, tiny_bundle, tmp_path):
    extra = ["--guidance-interval", 0.4, 6, "--rng", "nv", "--sampler", "euler_a", "--batch-size", 3]
    run(command, tiny_bundle, tmp_path / "one", *extra, "--prompt", "cyt mast: a, b", "--negative-prompt", "it's\nnot")
    wanted = (tmp_path / "one/cyt_nep_mast/000005.png").read_bytes()
    done = command("engine", "png-info", tmp_path / "one/cyt_nep_mast/000005.png", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    prompt, *_, settings = found["parameters"].split("\n")
    assert prompt == "cyt mast: a, b"
    assert "Negative prompt: it's\nnot" in found["parameters"]
    assert settings.startswith("Steps: 3, Sampler: Euler a, Schedule type: Normal, CFG scale: 2, Seed: 10, Size: 32x32")
    assert "RNG: NV" in settings
    words = shlex.split(found["command"])
    words[words.index("--bundle") + 1] = str(tiny_bundle)
    assert command(*words, "--out", tmp_path / "two").returncode == 0
    assert (tmp_path / "two/cyt_nep_mast/000000.png").read_bytes() == wanted
    shown = command("engine", "png-info", tmp_path / "one/cyt_nep_mast/000005.png")
    assert "synthetic: True" in shown.stdout


def hostile_png(path, text, key="cytosynth"):
    info = PngInfo()
    info.add_itxt(key, text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "1e999", "[" * 100_000, '{"class": ' * 50_000, "\x00", '"' + "a" * 70_000_000]
)
def test_png_info_of_a_hostile_file_is_an_error_and_no_traceback(text, tmp_path):
    hostile_png(tmp_path / "x.png", text)
    with pytest.raises(RequestError, match=r"x\.png"):
        read_png(tmp_path / "x.png")


def test_png_info_of_no_picture_is_refused(command, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, word in (("plain.png", "no cytosynth text"), ("text.png", "unreadable"), ("none.png", "unreadable")):
        done = command("engine", "png-info", tmp_path / name)
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr


def test_png_info_prints_no_escape_and_quotes_what_a_shell_would_run(command, tmp_path):
    hostile_png(tmp_path / "x.png", json.dumps({"class": "a; rm -rf ~", "note": "\x1b[2J", "seed": "$(id)"}))
    done = command("engine", "png-info", tmp_path / "x.png")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "--class 'a; rm -rf ~' --seed '$(id)'" in done.stdout


def test_png_info_survives_random_descriptions(tmp_path):
    """Arbitrary JSON in a PNG gives a description with a safe shell command, or a RequestError."""
    rng = np.random.default_rng(0)

    def value(depth=0):
        kind = rng.integers(7 if depth < 3 else 4)
        letters = [str(letter) for letter in rng.choice(list(string.printable + "äß€\u202e"), rng.integers(12))]
        simple = [None, float(rng.standard_normal()), int(rng.integers(-(10**9), 10**9)), "".join(letters)]
        if kind < 4:
            return simple[kind]
        if kind == 4:
            return [value(depth + 1) for _ in range(rng.integers(4))]
        names = ["class", "seed", "prompt", "negative_prompt", "prompt_given", "guidance_interval", "bundle", "x"]
        return {str(rng.choice(names)): value(depth + 1) for _ in range(rng.integers(6))}

    for i in range(200):
        hostile_png(tmp_path / f"{i}.png", json.dumps(value()))
        try:
            found = read_png(tmp_path / f"{i}.png")
        except RequestError:
            continue
        words = shlex.split(found.command)
        assert words[:2] == ["engine", "generate"]


def test_pictures_of_random_bytes_are_errors_and_nothing_is_written(tmp_path):
    """png-info and the contact sheet survive PNG files with changed bytes."""
    rng = np.random.default_rng(1)
    (tmp_path / "c").mkdir()
    hostile_png(tmp_path / "c/000000.png", json.dumps({"class": "c", "seed": 1}))
    whole = np.frombuffer((tmp_path / "c/000000.png").read_bytes(), np.uint8)
    line = {"file_name": "c/000000.png", "class": "c", "trained_on": "phantom"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(line))
    refused = 0
    for _ in range(400):
        mutated = whole.copy()
        mutated[rng.integers(len(whole), size=rng.integers(1, 6))] = rng.integers(256)
        (tmp_path / "c/000000.png").write_bytes(mutated.tobytes()[: rng.integers(8, len(whole) + 1)])
        for read in (lambda: read_png(tmp_path / "c/000000.png"), lambda: write_sheet(tmp_path)):
            try:
                read()
            except RequestError:
                refused += 1
        assert {path.name for path in tmp_path.rglob("*")} <= {"c", "000000.png", "metadata.jsonl", "sheet.png"}
    assert 100 < refused < 800


def test_a_picture_survives_its_png():
    pixels = np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8)
    description = {
        "class": "c",
        "prompt": "p",
        "negative_prompt": "",
        "steps": 1,
        "sampler": "ddim",
        "schedule": "leading",
        "guidance_scale": 1.5,
        "seed": 3,
        "width": 7,
        "height": 9,
        "bundle": "b, c: d",
        "bundle_sha256": "f" * 64,
        "rng": "numpy",
    }
    import io

    with Image.open(io.BytesIO(encode_png(pixels, description))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
        assert 'Model: "b, c: d c"' in picture.text["parameters"]
        assert json.loads(picture.text["cytosynth"]) == description
