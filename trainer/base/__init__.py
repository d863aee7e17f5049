"""Bases: opening one, its prompts, sampling from it, previews."""
