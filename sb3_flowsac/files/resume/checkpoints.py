"""A folder of checkpoints: the latest few, each written whole or not at all."""

import warnings
from pathlib import Path
from typing import Any

from sb3_flowsac.files.resume.archive import read_archive, write_archive
from sb3_flowsac.files.writing import SUFFIX

PREFIX = "checkpoint-"
ENDING = ".npz"


class Checkpoints:
    """
    The checkpoints of one run.

    :param folder: where they are; made when the first is written
    :param keep: how many to keep
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def path(self, timesteps: int) -> Path:
        """The file of the checkpoint at a number of environment steps."""
        return self.folder / f"{PREFIX}{timesteps:012d}{ENDING}"

    def paths(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob(f"{PREFIX}*{ENDING}"))

    def write(self, timesteps: int, content: dict[str, Any]) -> Path:
        """
        Write a checkpoint, then delete those that are older than the ``keep`` latest.

        :param timesteps: number of environment steps done
        :param content: what ``write_archive`` can hold
        :return: the file
        :raises OSError: if it cannot be written; the earlier checkpoints are kept
        """
        path = self.path(timesteps)
        write_archive(path, content)
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
                return path, read_archive(path)
            except ValueError as error:
                warnings.warn(f"{error}; an older one is used if there is one", RuntimeWarning, stacklevel=2)
        if paths:
            names = ", ".join(path.name for path in paths)
            raise ValueError(f"no checkpoint in {self.folder} can be read; delete {names} to start anew")
        return None
