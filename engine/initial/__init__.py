"""Starting from pictures: their settings, files, sizes and masks."""
