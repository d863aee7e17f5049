"""Places of the published records and pages, and links between them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["BENCHMARKS_PAGE", "CPP_BENCH_PAGE", "RECORDS", "SCALE_PAGE", "SHIPPED_MANIFEST", "link"]

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs/benchmarks"
BENCHMARKS_PAGE = ROOT / "docs/benchmarks.md"
SCALE_PAGE = ROOT / "docs/scale.md"
CPP_BENCH_PAGE = ROOT / "docs/reference/cpp_bench.md"
SHIPPED_MANIFEST = ROOT / "engine/bundles/cells/manifest.json"


def link(target: Path, page: Path) -> str:
    """Return the relative link from a page to a file or folder."""
    return Path(os.path.relpath(target.absolute(), page.absolute().parent)).as_posix()
