"""`python -m exporter` is the exporter's command line."""

from exporter.cli import main

main()
