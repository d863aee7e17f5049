"""Distances and scores, one file per metric."""
