"""The checkpoint of a run: a zip file of pickles, written whole or not at all, and checked when it is read."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

from sb3_flowsac.files.writing import replacing


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """
    Write a checkpoint, in place of an earlier one.

    :param path: the file
    :param content: its parts by name
    :raises TypeError: if a part cannot be pickled; names the part
    :raises OSError: if the file cannot be written; the earlier one is kept
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:  # for its checksums
        for name, part in content.items():
            with archive.open(name, "w", force_zip64=True) as member:
                try:
                    pickle.dump(part, member, protocol=5)
                except (AttributeError, TypeError, pickle.PicklingError) as error:
                    raise TypeError(f"a checkpoint cannot hold the {name} of this run: {error}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """
    Read a checkpoint, once every byte has been compared with the file's checksums.

    Like SB3's own files it holds pickles, which can run code: read only your own.

    :param path: the file
    :return: its parts by name
    :raises ValueError: if it is no such file, or damaged; names the file
    :raises OSError: if it cannot be read
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
            return {name: pickle.load(archive.open(name)) for name in archive.namelist()}
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # zipfile and pickle have many for a file that is cut short or of another kind
        raise ValueError(
            f"{path} is damaged or no checkpoint of sb3-flowsac, delete it to start anew: {error}"
        ) from error
