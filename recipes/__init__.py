"""The scripts that make the embedded bundle and its model card."""
