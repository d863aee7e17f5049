"""The library: Engine, SyntheticCells, expect_real."""
