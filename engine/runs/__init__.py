"""Whole runs, on one machine or many."""
