"""A folder of checkpoints of one run: the latest few, each written whole or not at all, and checked when it is read."""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

from sb3_flowsac.files.writing import SUFFIX, replacing

PREFIX, ENDING = "checkpoint-", ".zip"
MEMBER = "checkpoint.pkl"


class Checkpoints:
    """
    The checkpoints of one run. Like SB3's own files they are pickles, which can run code: read only your own.

    :param folder: where they are; made when the first is written
    :param keep: how many to keep
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def paths(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob(f"{PREFIX}*{ENDING}"))

    def write(self, timesteps: int, content: dict[str, Any]) -> Path:
        """
        Write a checkpoint, then delete those that are older than the ``keep`` latest.

        :param timesteps: number of environment steps done
        :param content: what to write
        :return: the file
        :raises OSError: if the file cannot be written; the earlier checkpoints are kept
        """
        path = self.folder / f"{PREFIX}{timesteps:012d}{ENDING}"
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:  # for its checksums
            with archive.open(MEMBER, "w", force_zip64=True) as member:
                pickle.dump(content, member, protocol=5)
        for leftover in self.folder.glob(f"{PREFIX}*{ENDING}{SUFFIX}"):  # of a process that was killed
            leftover.unlink(missing_ok=True)
        for old in [other for other in self.paths() if other <= path][: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """
        The latest checkpoint that can be read; a warning names each later one that cannot.

        :return: its file and content, or ``None`` if there is no file
        :raises ValueError: if there are files and none can be read
        """
        paths = self.paths()[::-1]
        for path in paths:
            try:
                return path, read_checkpoint(path)
            except ValueError as error:
                warnings.warn(f"{error}; an older one is used if there is one", RuntimeWarning, stacklevel=2)
        if paths:
            names = ", ".join(path.name for path in paths)
            raise ValueError(f"no checkpoint in {self.folder} can be read; delete {names} to start anew")
        return None


def check_picklable(content: dict[str, Any]) -> None:
    """
    Refuse what no checkpoint can hold.

    :param content: what is to be written
    :raises TypeError: if a part of it cannot be pickled; names the part
    """
    for name, part in content.items():
        try:
            pickle.dumps(part)
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            raise TypeError(f"a checkpoint cannot hold the {name} of this run: {error}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """
    Read a checkpoint, once every byte has been compared with the file's checksums.

    :param path: the file
    :return: its content
    :raises ValueError: if it is no such file, or damaged; names the file
    :raises OSError: if it cannot be read
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
            with archive.open(MEMBER) as member:
                content: dict[str, Any] = pickle.load(member)
                return content
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # zipfile and pickle have many for a file that is cut short or of another kind
        raise ValueError(f"{path} is damaged or no checkpoint of sb3-flowsac: {error}") from error
