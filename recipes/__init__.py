"""Scripts that make the embedded bundle, its evaluation and its model card."""
