"""`python -m engine` is the command line `engine`."""

from engine.cli import main

main()
