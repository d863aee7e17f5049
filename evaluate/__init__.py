"""Folders of pictures in, honest figures out."""
