"""Examples for users: train a classifier with synthetic cells, and run an array job."""
