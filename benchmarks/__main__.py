"""`python -m benchmarks` is the command line of the benchmarks."""

from benchmarks.app import main

main()
