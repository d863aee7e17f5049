"""Run the command line of the evaluation: `python -m evaluate`."""

from evaluate.cli.app import main

main()
