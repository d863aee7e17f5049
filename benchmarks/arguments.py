"""Argument parsing of the scripts in benchmarks and recipes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from engine.errors import RequestError
from engine.options import parse_numbers, parse_whole_numbers

__all__ = ["decimals", "existing_folder", "new_file", "numbers", "script_parser"]

Item = TypeVar("Item")


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
    """Return the whole numbers above 0 in a list such as "1,8,16"."""
    return [*_checked(partial(parse_whole_numbers, ""), text)]


def decimals(text: str) -> list[float]:
    """Return the numbers in a list such as "0.5,1"."""
    return [*_checked(partial(parse_numbers, ""), text)]


def _checked(parse: Callable[[str], tuple[Item, ...]], text: str) -> tuple[Item, ...]:
    """Turn the error of a parser of options into one of argparse, which names the option itself."""
    try:
        return parse(text)
    except RequestError as error:
        raise argparse.ArgumentTypeError(f"{text}: expected {error.expected}; {error.fix}") from error
