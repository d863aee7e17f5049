"""The command line `python -m exporter`."""
