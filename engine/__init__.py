"""A lean engine that mass-produces synthetic cells from a bundle. Imports no torch."""
