"""What is inside the files of a bundle: graphs and plans in numbers, and the precision of each layer."""

from polygraphy.logger import G_LOGGER

# Polygraphy logs to stdout, which is reserved for this program's output. Its failures are exceptions.
G_LOGGER.module_severity = G_LOGGER.CRITICAL
