"""`python -m evaluate` is the command line of the figures."""

from evaluate.cli.app import main

main()
