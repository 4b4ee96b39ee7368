"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """
    A file that takes the name ``path`` once it is written and on the disk; until then whatever has the name is kept.

    :param path: the file to write or to replace; its folder is made if needed
    :return: the file to write to, of a temporary name beside it
    :raises OSError: if it cannot be written, for example because the disk is full or a folder has the name; names the
        file
    """
    temporary = path.with_name(path.name + SUFFIX)
    try:
        if path.is_dir():  # before what is written is computed
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write: {error.strerror or error}", str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, see ``replacing``."""
    with replacing(path) as file:
        file.write(text.encode())
