"""One script per record of docs/benchmarks/."""
