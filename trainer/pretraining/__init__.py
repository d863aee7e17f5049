"""Training of a small base, its decoder and the feature encoder."""
