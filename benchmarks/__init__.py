"""Benchmarks: comparisons with peers, and the scripts behind the benchmark pages."""
