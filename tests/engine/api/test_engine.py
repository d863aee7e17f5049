"""The library makes the same pictures as the command line: lazily, at any index, in any process."""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from torch.utils.data import DataLoader

from engine import ChunkShuffle, Engine, SyntheticCells
from engine.errors import CytosynthError, RequestError
from engine.pipeline.rescue import Rescue


@pytest.fixture(scope="module")
def pictures(tiny_bundle):
    """Seven pictures of cyt_mast from seed 5."""
    batches = list(Engine.open(str(tiny_bundle)).generate("cyt_mast", 7, seed=5, num_inference_steps=3))
    assert [batch.seeds for batch in batches] == [(5, 6, 7, 8), (9, 10, 11)]
    assert all(batch.class_name == "cyt_mast" for batch in batches)
    return np.concatenate([batch.images for batch in batches])


def test_batches_are_what_the_command_line_writes(pictures, command, tiny_bundle, tmp_path):
    from PIL import Image

    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 7, "--seed", 5, "--steps", 3]
    assert command("engine", "generate", *arguments, "--out", tmp_path / "out").returncode == 0
    for i, wanted in enumerate(pictures):
        with Image.open(tmp_path / f"out/cyt_mast/{i:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), wanted)


def test_generate_is_lazy_and_checks_at_once(tiny_bundle):
    engine = Engine.open(str(tiny_bundle))
    assert engine.class_names == ("cyt_mast", "cyt_nep_mast")
    with pytest.raises(RequestError, match="--n"):
        engine.generate("cyt_mast", 0)
    endless = engine.generate("cyt_mast", 10**9, num_inference_steps=1)
    assert next(iter(endless)).images.shape == (4, 32, 32, 3)


def data_of(bundle, **options):
    return SyntheticCells(n=7, seed=5, bundle=str(bundle), num_inference_steps=3, **options)


def test_any_index_at_any_time(pictures, tiny_bundle):
    data = data_of(tiny_bundle, cache_chunks=1)
    assert len(data) == 14
    assert data.classes == ["cyt_mast", "cyt_nep_mast"]
    for index in (6, 0, 13, 3, -14):
        picture, label = data[index]
        assert label == (1 if index == 13 else 0)
        if label == 0:
            np.testing.assert_array_equal(picture, pictures[index % 14])
    for index in (14, -15):
        with pytest.raises(IndexError):
            data[index]


def test_a_cached_picture_cannot_be_spoilt(tiny_bundle):
    data = data_of(tiny_bundle, class_names="cyt_mast")
    first = data[0][0]
    first[:] = 0
    assert data[0][0].any()


def test_a_chunk_aware_shuffle_makes_each_chunk_once(tiny_bundle, monkeypatch):
    data = data_of(tiny_bundle, cache_chunks=2)
    made = []
    order = ChunkShuffle(data, seed=1)
    from engine.api import engine as library

    make = library.ChunkMaker.make
    monkeypatch.setattr(library.ChunkMaker, "make", lambda self, chunk: made.append(chunk) or make(self, chunk))
    indices = list(order)
    assert sorted(indices) == list(range(14)) != indices
    for index in indices:
        data[index]
    assert len(made) == 4
    assert list(order) == indices
    order.set_epoch(1)
    assert list(order) != indices


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_loader_takes_it(workers, pictures, tiny_bundle):
    data = (
        data_of(tiny_bundle, transform=lambda picture: picture.astype(np.float32) / 255)
        if not workers
        else data_of(tiny_bundle)
    )
    context = "spawn" if workers else None
    loader = DataLoader(
        data, batch_size=5, sampler=ChunkShuffle(data), num_workers=workers, multiprocessing_context=context
    )
    images, labels = zip(*loader, strict=True)
    assert sum(len(batch) for batch in images) == 14
    assert sum(int(batch.sum()) for batch in labels) == 7


def test_it_travels_to_a_worker_without_its_models(pictures, tiny_bundle):
    data = data_of(tiny_bundle)
    data[0]
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    np.testing.assert_array_equal(again[2][0], pictures[2])


def test_a_forked_worker_says_what_to_do(tiny_bundle):
    """A forked process would wait forever for threads that it does not have."""
    data = data_of(tiny_bundle)
    data[0]
    loader = DataLoader(data, num_workers=1, multiprocessing_context="fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own, of forking a process with threads
        with pytest.raises(RuntimeError, match="multiprocessing_context"):
            next(iter(loader))


def test_a_picture_that_is_none_is_left_out_and_its_neighbours_are_not(pictures, tiny_bundle, monkeypatch):
    check = Rescue.check

    def spoilt(self, seeds, *values):
        checked = check(self, seeds, *values)
        return replace(checked, troubles=["blank" if seed == 6 else "" for seed in seeds[: len(checked.images)]])

    monkeypatch.setattr(Rescue, "check", spoilt)
    with pytest.warns(RuntimeWarning, match="seed 6"):
        batches = list(Engine.open(str(tiny_bundle)).generate("cyt_mast", 7, seed=5, num_inference_steps=3))
    assert [seed for batch in batches for seed in batch.seeds] == [5, 7, 8, 9, 10, 11]
    found = np.concatenate([batch.images for batch in batches])
    np.testing.assert_array_equal(found, np.delete(pictures, 1, axis=0))
    data = data_of(tiny_bundle)
    np.testing.assert_array_equal(data[2][0], pictures[2])
    with pytest.raises(CytosynthError, match="blank"):
        data[1]


@pytest.fixture(scope="module")
def listed(tiny_bundle, command, tmp_path_factory):
    """The lines of metadata.jsonl of the pictures of `data_of`."""
    out = tmp_path_factory.mktemp("listed") / "out"
    options = ("--class", "all", "--n", 7, "--seed", 5, "--steps", 3, "--bundle", tiny_bundle, "--out", out)
    done = command("engine", "generate", *options)
    assert done.returncode == 0, done.stderr
    return (out / "metadata.jsonl").read_text().splitlines()


def test_listed_pictures_are_left_out_and_the_rest_close_up(pictures, listed, tiny_bundle, tmp_path):
    path = tmp_path / "exclude.jsonl"
    path.write_text("\n".join(line for line in listed if json.loads(line)["seed"] in (5, 9)))
    data = data_of(tiny_bundle, exclude=path)
    assert len(data) == 10
    np.testing.assert_array_equal(np.stack([data[i][0] for i in range(5)]), np.delete(pictures, [0, 4], axis=0))
    assert [data[i][1] for i in (4, 5, -1)] == [0, 1, 1]
    assert sorted(ChunkShuffle(data)) == list(range(10))
    only = data_of(tiny_bundle, class_names="cyt_mast", exclude=path)
    assert len(only) == 5
    path.write_text("\n".join(listed))
    with pytest.raises(RequestError, match="all pictures"):
        data_of(tiny_bundle, exclude=path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"guidance_scale": 5.5}, "guidance_scale 5.5"),
        ({"bundle_sha256": "0" * 64}, "bundle_sha256 000"),
        ({"seed": None}, "class and seed"),
        ({"seed": 7.9}, "not a whole number"),
    ],
)
def test_a_list_of_other_pictures_is_refused(change, words, listed, tiny_bundle, tmp_path):
    path = tmp_path / "exclude.jsonl"
    path.write_text(json.dumps(json.loads(listed[0]) | change))
    with pytest.raises(RequestError, match=words):
        data_of(tiny_bundle, exclude=path)


def test_wrong_requests_are_refused(tiny_bundle):
    for options in (
        {"class_names": ["nobody"]},
        {"cache_chunks": 0},
        {"sampler": "heun"},
        {"exclude": "/nowhere"},
    ):
        with pytest.raises(RequestError):
            SyntheticCells(bundle=str(tiny_bundle), **options)
