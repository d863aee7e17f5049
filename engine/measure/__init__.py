"""Measurements of this machine: stages of a picture, reference trajectories, batch size."""
