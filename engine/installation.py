"""Says how to install what is missing, in place of a traceback, when a command line starts without its packages.

Only the standard library is imported here. Nothing else can be: `python -m trainer` outside the virtual environment
fails at its first import.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from engine.errors import RequestError

__all__ = ["explain_missing_packages", "missing_package"]

PARTS = ("engine", "trainer", "exporter", "evaluate", "benchmarks", "recipes", "tests")


def missing_package(error: BaseException) -> RequestError | None:
    """Return what to do about a package that is not installed, or None for every other error."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not name or name in PARTS:
        return None
    venv = Path(__file__).parents[1] / ".venv"
    fix = "run `make install`, then `source .venv/bin/activate`, in the checkout of cytosynth"
    if venv.is_dir() and Path(sys.prefix).resolve() != venv.resolve():
        fix = "run `source .venv/bin/activate` in the checkout of cytosynth; if that does not help, run `make install`"
    return RequestError(
        f"The package {name}",
        found=f"not installed for {sys.executable}",
        expected="a Python with the packages of this command",
        fix=fix,
    )


def explain_missing_packages() -> None:
    """Let a command line that lacks a package end with one message. Programs that import the library are not changed.

    While Python looks for the module of `python -m`, the first argument is "-m".
    """
    if sys.argv[:1] != ["-m"]:
        return
    before = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        words = missing_package(error)
        if words is None:
            before(kind, error, trace)
        else:
            print(f"error: {words}", file=sys.stderr)

    sys.excepthook = explain


explain_missing_packages()
