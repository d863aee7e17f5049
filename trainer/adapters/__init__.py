"""What every adapter shares: one interface, the merge into a base, and descriptions of files."""
