"""SyntheticCells: the pictures of the command line at any index, in any process."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from torch.utils.data import DataLoader

from engine import ChunkShuffle, SyntheticCells
from engine.errors import RequestError
from tests.engine.api.examples import data_of


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


@pytest.mark.slow
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


def test_wrong_requests_are_refused(tiny_bundle):
    for options in (
        {"class_names": ["nobody"]},
        {"cache_chunks": 0},
        {"sampler": "dpm_adaptive"},
        {"exclude": "/nowhere"},
    ):
        with pytest.raises(RequestError):
            SyntheticCells(bundle=str(tiny_bundle), **options)
