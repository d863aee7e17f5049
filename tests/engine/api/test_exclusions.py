"""Pictures that a list leaves out of SyntheticCells."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine import ChunkShuffle
from engine.errors import RequestError
from tests.engine.api.examples import data_of


@pytest.fixture(scope="module")
def listed(tiny_bundle, in_process, tmp_path_factory):
    """The lines of metadata.jsonl of the pictures of `data_of`."""
    out = tmp_path_factory.mktemp("listed") / "out"
    options = ("--class", "all", "--n", 7, "--seed", 5, "--steps", 3, "--bundle", tiny_bundle, "--out", out)
    done = in_process("engine", "generate", *options)
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
        ({"shared_noise": None}, "shared_noise None"),
        ({"seed": None}, "class and seed"),
        ({"seed": 7.9}, "not a whole number"),
    ],
)
def test_a_list_of_other_pictures_is_refused(change, words, listed, tiny_bundle, tmp_path):
    path = tmp_path / "exclude.jsonl"
    path.write_text(json.dumps(json.loads(listed[0]) | change))
    with pytest.raises(RequestError, match=words):
        data_of(tiny_bundle, exclude=path)
