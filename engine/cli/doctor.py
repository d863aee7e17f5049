"""The command `engine doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.backends.select import choose_backend, probe
from engine.bundle.settings import AUTO
from engine.cli.options import JsonOption

__all__ = ["doctor"]


def doctor(as_json: JsonOption = False) -> None:
    """Show which runtimes are usable on this machine, why the others are not, and how to install them."""
    found = probe()
    usable = any(status.usable for status in found)
    if as_json:
        auto = choose_backend(AUTO)[0] if usable else None
        print(json.dumps({"backends": [asdict(status) for status in found], "auto": auto}))
        return
    table = Table("backend", "usable", "version, or reason", "how to install it")
    for status in found:
        table.add_row(status.name, "yes" if status.usable else "no", escape(status.detail), escape(status.install))
    Console().print(table)
    print(f"--backend auto takes {choose_backend(AUTO)[1]}." if usable else "No backend is usable.")
