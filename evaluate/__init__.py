"""Honest figures about folders of pictures."""
