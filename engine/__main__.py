"""`python -m engine` is the command line `engine`."""

from engine.cli.app import main

main()
