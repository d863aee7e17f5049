"""Honest figures about folders of pictures."""

import engine.privacy  # noqa: F401  (before any library that could report its use)
