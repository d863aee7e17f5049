"""Every comparison with a peer, and the scripts behind docs/benchmarks.md."""
