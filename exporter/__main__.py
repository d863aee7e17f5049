"""Run the exporter's command line with `python -m exporter`."""

from exporter.cli.app import main

main()
