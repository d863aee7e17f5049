"""The command line `python -m evaluate`: one file per command."""
