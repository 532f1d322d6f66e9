"""The folder that a run writes into: never anybody else's files, and each file whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

MADE_BY = "evaluate_bag of depth_estimation_ros"
"""Stands in ``metrics.json`` under ``made_by``."""

_MARK = "evaluate_bag"
_FILES = ("report.html", "metrics.json", "frames.csv")


class OutputFolder:
    """
    A folder for reports.

    Parameters
    ----------
    path : pathlib.Path
        Is made. What it holds is overwritten only if an earlier run has written it.

    Raises
    ------
    ValueError
        If it holds files that would be overwritten and are not ours, or another run is at work in it.
    """

    def __init__(self, path: Path):
        self.path, self.work, self.bags = path, path / ".work", path / "bags"
        if path.exists() and not path.is_dir():
            raise ValueError(f"'{path}' is a file; name a folder with --output")
        self._new = not path.exists()
        # Another program's .work is not ours to fill, let alone to remove.
        self._going_on = (self.work / _MARK).is_file()
        if self.work.exists() and not self._going_on:
            raise ValueError(f"'{self.work}' is of another program; name another folder with --output")
        self._must_be_ours([*_FILES, "bags"])
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.work / _MARK, "w")  # noqa: SIM115 - held until the end
        except OSError as error:
            raise ValueError(
                f"cannot write into '{path}': {error.strerror}; name another folder with --output"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"another evaluate_bag is at work in '{path}'; name another folder with --output"
            ) from None

    def publish(self, write: Callable[[Path], None]) -> list[str]:
        """Let `write` fill a folder, and move every file of it into this one; returns their names."""
        draft = self.work / "report"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        write(draft)
        files = sorted(file.relative_to(draft) for file in draft.rglob("*") if file.is_file())
        self._must_be_ours([str(file) for file in files])
        # The file that says whose folder it is comes first.
        for file in sorted(files, key=lambda file: file.name != "metrics.json"):
            (self.path / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft / file, self.path / file)
        for folder in {file.parent for file in files} - {Path(".")}:
            for stale in set((self.path / folder).glob("*.png")) - {self.path / file for file in files}:
                stale.unlink()  # a picture of an earlier report
        return [str(file) for file in files]

    def close(self, keep: bool) -> None:
        """Remove the work folder, unless there is something to be gone on with; and the folder, if it is empty."""
        self._lock.close()
        if not (keep and any(self.work.glob("*.npz"))):
            shutil.rmtree(self.work)
            if self._new and not any(self.path.iterdir()):
                self.path.rmdir()

    def _must_be_ours(self, names: list[str]) -> None:
        there = [name for name in names if (self.path / name).exists()]
        if there and not self._is_ours():
            raise ValueError(
                f"'{self.path}' holds {', '.join(there)} of another program; name another folder with --output"
            )

    def _is_ours(self) -> bool:
        if self._going_on:
            return True
        try:
            made_by = json.loads((self.path / "metrics.json").read_text()).get("made_by", "")
        except (OSError, ValueError, AttributeError):
            return False
        return made_by == MADE_BY
