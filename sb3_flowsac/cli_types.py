"""Types of command line arguments: what a user wrote, read or refused with a message that quotes it."""

import argparse
import ast
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALLEST, LARGEST = 2.0**-126, (2.0 - 2.0**-23) * 2.0**127  # of normal numbers in single precision


def positive_float(text: str) -> float:
    """
    Read a positive number that single precision can hold.

    :param text: what the user wrote
    :return: its value
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SMALLEST <= value <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number from {SMALLEST:.3g} to {LARGEST:.3g}")
    return value


def positive_int(text: str) -> int:
    """
    Read a whole number of at least 1.

    :param text: what the user wrote
    :return: its value
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """
    Read a random seed.

    :param text: what the user wrote
    :return: its value
    """
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def keyword(text: str) -> tuple[str, Any]:
    """
    Read a keyword argument, written as the RL Zoo has it: ``alpha:0.5``, ``preset:unstable``.

    :param text: what the user wrote
    :return: its name and its value, a Python literal or else the text itself
    """
    name, colon, value = text.partition(":")
    if not (colon and name.isidentifier() and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME:VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def existing_file(text: str) -> Path:
    """
    Read the path of a file that exists.

    :param text: what the user wrote
    :return: its path
    """
    return _existing(text, Path.is_file, "file")


def file_or_folder(text: str) -> Path:
    """
    Read the path of a file or folder that exists.

    :param text: what the user wrote
    :return: its path
    """
    return _existing(text, Path.exists, "file or folder")


def _existing(text: str, exists: Callable[[Path], bool], kind: str) -> Path:
    if not _is_name(text) or not exists(Path(text)):
        raise argparse.ArgumentTypeError(f"no such {kind}: {text!r}")
    return Path(text)


def folder(text: str) -> Path:
    """
    Read the path of a folder that exists or can be made.

    :param text: what the user wrote
    :return: its path
    """
    path = Path(text)
    if not _is_name(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder")
    blocking = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocking is not None:
        raise argparse.ArgumentTypeError(f"{str(blocking)!r} is a file, a folder is needed")
    return path


def output_file(text: str) -> Path:
    """
    Read the path of a file that exists or can be made.

    :param text: what the user wrote
    :return: its path
    """
    if not _is_name(text) or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a file")
    return folder(str(Path(text).parent)) / Path(text).name


def _is_name(text: str) -> bool:
    """Whether the system takes a text as the name of a file or folder, be there one or not."""
    try:
        os.stat(text)
    except FileNotFoundError:
        return bool(text)
    except NotADirectoryError:
        return True
    except (OSError, ValueError):  # too long, or with a zero byte
        return False
    return True
