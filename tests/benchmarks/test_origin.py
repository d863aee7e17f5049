"""The commit and the versions that a record states."""

from __future__ import annotations

import re

import numpy as np

from benchmarks.origin import commit_here, versions_of


def test_the_commit_is_that_of_the_checkout():
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", commit_here())


def test_only_installed_packages_have_a_version():
    assert versions_of(["numpy", "no-such-package"]) == {"numpy": np.__version__}
