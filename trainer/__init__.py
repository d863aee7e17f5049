"""The trainer: from pictures to a hypernetwork and a merged UNet (torch, diffusers)."""

import engine.privacy  # noqa: F401  (before any library that could report its use)
