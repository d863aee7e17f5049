"""One script for each record in docs/benchmarks/ that `python -m benchmarks` does not write."""
