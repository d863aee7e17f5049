"""Bundles on disk: found by name or folder, and checked by size and SHA-256 before a file is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.bundle.manifest import Manifest, read_manifest
from engine.errors import RequestError
from engine.files import sha256_of

__all__ = ["EMBEDDED", "Bundle", "open_bundle", "unreadable"]

EMBEDDED = Path(__file__).parents[1] / "bundles"
"""Folder of the bundles that ship with the engine and are found by name."""


@dataclass(frozen=True)
class Bundle:
    """A folder and its checked manifest. `sha256` is the hash of the manifest, which holds the hash of every file."""

    folder: Path
    manifest: Manifest
    sha256: str

    def path(self, name: str) -> Path:
        """Return the path of a file that the manifest lists."""
        return self.folder / name

    def verify(self, names: Iterable[str]) -> None:
        """Check size and SHA-256 of the named files. Raises RequestError for the first file that differs."""
        for name in dict.fromkeys(names):
            expected = self.manifest.files[name]
            path = self.path(name)
            fix = "the file is damaged or was changed; copy or export the bundle again"
            if path.is_symlink():  # OpenVINO refuses weights whose real path is outside the folder of the graph
                copy = "copy the bundle with the files that its links lead to, for example with `cp -rL`"
                raise RequestError(f"The bundle's file {path}", found="a link", expected="a regular file", fix=copy)
            if not path.is_file():
                raise RequestError(
                    f"The bundle's file {path}", found="no such file", expected="a regular file", fix=fix
                )
            size = path.stat().st_size
            if size != expected.size_bytes:
                wanted = f"{expected.size_bytes} bytes"
                raise RequestError(f"The bundle's file {path}", found=f"{size} bytes", expected=wanted, fix=fix)
            digest = sha256_of(path)
            if digest != expected.sha256:
                wanted = f"SHA-256 {expected.sha256}"
                raise RequestError(f"The bundle's file {path}", found=f"SHA-256 {digest}", expected=wanted, fix=fix)

    def verify_for(self, class_names: Iterable[str], preset: str | None) -> None:
        """Check every file that may be opened to generate these classes with a preset. Raises RequestError."""
        shared = [*self.manifest.decoder_of(preset).files, self.manifest.step]
        shared += self.manifest.vae_encoder or ()
        if self.manifest.text_encoder:
            shared += self.manifest.text_encoder.files
        self.verify([*shared, *(file for name in class_names for file in self.manifest.class_files(name, preset))])


def open_bundle(name_or_folder: str) -> Bundle:
    """Open an embedded bundle by its name, or any bundle by its folder. Only the manifest is read.

    Raises RequestError.
    """
    embedded = sorted(path.parent.name for path in EMBEDDED.glob("*/manifest.json"))
    folder = EMBEDDED / name_or_folder if name_or_folder in embedded else Path(name_or_folder)
    if not folder.is_dir():
        raise RequestError(
            f"The bundle {name_or_folder}",
            found="no such folder",
            expected=f"a bundle's folder, or an embedded bundle: {', '.join(embedded) or 'none is installed'}",
            fix="check the path",
        )
    manifest = read_manifest(folder / "manifest.json")
    return Bundle(folder, manifest, hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest())


def unreadable(path: Path, error: Exception) -> RequestError:
    """Return the error for a file of a bundle that a library cannot read, although its hash is right."""
    return RequestError(
        f"The bundle's file {path}",
        found=f"unreadable ({error})",
        expected="a file that the exporter wrote",
        fix="export the bundle again",
    )
