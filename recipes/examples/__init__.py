"""Examples for users: a classifier on synthetic cells, an array job."""
