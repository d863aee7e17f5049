"""Hypernetworks and embeddings: networks, files, merging, signal leak."""
