"""Scripts that make the embedded bundle, its evaluation and its model card."""

import engine.privacy  # noqa: F401  (before any library that could report its use)
