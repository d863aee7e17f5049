"""The command line `engine`, one file per command."""
