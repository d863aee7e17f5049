"""Run the command line of the benchmarks with `python -m benchmarks`."""

from benchmarks.app import main

main()
