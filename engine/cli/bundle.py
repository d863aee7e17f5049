"""The commands about a bundle: `engine info` and `engine verify`."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.bundle.folder import open_bundle
from engine.cli.options import BundleArgument, JsonOption, origin_words, settings_words

__all__ = ["info", "verify"]


def info(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Show the content of a bundle: base, classes, origin of their pictures, defaults."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    width, height = manifest.picture_size
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    classes = {
        name: {
            "trained_on": entry.origin,
            "pictures": entry.pictures,
            "licence": entry.licence,
            "attribution": entry.attribution,
            "base": manifest.base,
        }
        for name, entry in manifest.classes.items()
    }
    of_base = None if manifest.base_facts is None else vars(manifest.base_facts)
    defaults, presets = manifest.defaults, {name: preset.as_json() for name, preset in manifest.presets.items()}
    if as_json:
        facts = {"name": manifest.name, "base": manifest.base, "sha256": opened.sha256, "bytes": size_bytes}
        facts |= {} if of_base is None else {"base_facts": of_base}
        size = {"width": width, "height": height}
        print(json.dumps({**facts, **size, "classes": classes, "defaults": defaults.as_json(), "presets": presets}))
        return
    print(f"{manifest.name} ({opened.folder})\n{manifest.base}")
    if of_base is not None:
        print(f"Licence of the base: {of_base['licence']}; {of_base['attribution']}")
    print(f"{width} x {height} pixels, {size_bytes / 1e6:.1f} MB, SHA-256 {opened.sha256}")
    print(f"Defaults: {settings_words(defaults)}, batch {defaults.batch_size}")
    for name, preset in manifest.presets.items():
        print(f"--preset {name}: {settings_words(preset)}")
    numbers: dict[str, int] = {}
    for entry in manifest.classes.values():
        numbers.setdefault(entry.attribution, len(numbers) + 1)
    table = Table("class", "trained on", "licence", "attribution")
    for name, entry in manifest.classes.items():
        trained_on = f"{entry.pictures} {origin_words(entry.origin)}"
        words = (name, trained_on, entry.licence, f"[{numbers[entry.attribution]}]")
        table.add_row(*map(escape, words))
    Console().print(table)
    for attribution, number in numbers.items():
        print(f"[{number}] {attribution}")


def verify(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Check the size and SHA-256 of every file of a bundle."""
    opened = open_bundle(bundle)
    opened.verify(opened.manifest.files)
    count = len(opened.manifest.files)
    if as_json:
        print(json.dumps({"ok": True, "files": count, "sha256": opened.sha256}))
        return
    print(f"All {count} files of {opened.manifest.name} are intact. SHA-256 of the bundle: {opened.sha256}")
