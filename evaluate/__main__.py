"""`python -m evaluate` is the command line of the figures."""

from evaluate.cli import main

main()
