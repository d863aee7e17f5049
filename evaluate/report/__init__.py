"""Records on disk, and their tables, plots and HTML report."""
