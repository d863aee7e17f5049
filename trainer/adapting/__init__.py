"""`adapt`: from a folder of pictures to a bundle with one command."""
