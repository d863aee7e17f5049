"""What `make docs` needs besides mkdocs: the pages that are generated from the code."""
