"""Benchmarks: comparisons with peers, and the scripts behind the benchmark pages."""

import engine.privacy  # noqa: F401  (before any library that could report its use)
