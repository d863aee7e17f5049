"""Argument parsing of the scripts in benchmarks and recipes."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["existing_folder", "new_file", "numbers", "script_parser"]


def script_parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for `python -m MODULE`. Its help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # several scripts pass unknown options on to `engine generate`
    )


def new_file(text: str) -> Path:
    """Return the path of a file to write. The parser refuses a path in a missing folder, before hours of measuring."""
    path = Path(text)
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder of {text} does not exist")
    return path


def existing_folder(text: str) -> Path:
    """Return the path of a folder that exists."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def numbers(text: str) -> list[int]:
    """Return the positive whole numbers in a list such as "1,8,16"."""
    words = text.split(",")
    if not all(word.isascii() and word.isdecimal() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"{text} is not a list of positive numbers such as 1,8,16")
    return [int(word) for word in words]
