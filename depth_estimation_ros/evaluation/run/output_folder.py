"""Output folder of a run: never overwrites files of other programs, and writes each file completely or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

MADE_BY = "evaluate_bag of depth_estimation_ros"
"""Value of ``made_by`` in ``metrics.json``."""

_MARK = "evaluate_bag"
_FILES = ("report.html", "metrics.json", "frames.csv", "view.rrd")


class OutputFolder:
    """
    Folder for a report.

    Parameters
    ----------
    path : pathlib.Path
        Folder; it is created if it does not exist. Files in it are overwritten only if an earlier run wrote them.

    Raises
    ------
    ValueError
        If it has files of another program that would be overwritten, or another run is using it.
    """

    def __init__(self, path: Path):
        self.path, self.work, self.bags = path, path / ".work", path / "bags"
        if path.exists() and not path.is_dir():
            raise ValueError(f"'{path}' is a file; name a folder with --output")
        self._new = not path.exists()
        # A .work folder of another program must not be changed.
        self._going_on = (self.work / _MARK).is_file()
        if self.work.exists() and not self._going_on:
            raise ValueError(f"'{self.work}' belongs to another program; name another folder with --output")
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
            raise ValueError(f"another evaluate_bag is using '{path}'; name another folder with --output") from None

    def publish(self, write: Callable[[Path], None]) -> list[str]:
        """Call `write` with a draft folder, then move all files of it into this folder; returns their names."""
        draft = self.work / "report"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        write(draft)
        files = sorted(file.relative_to(draft) for file in draft.rglob("*") if file.is_file())
        self._must_be_ours([str(file) for file in files])
        # metrics.json comes first, because it marks the folder as ours.
        for file in sorted(files, key=lambda file: file.name != "metrics.json"):
            (self.path / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft / file, self.path / file)
        for folder in {file.parent for file in files} - {Path(".")}:
            for stale in set((self.path / folder).glob("*.png")) - {self.path / file for file in files}:
                stale.unlink()  # a picture of an earlier report
        return [str(file) for file in files]

    def close(self, keep: bool) -> None:
        """Remove the work folder unless ``keep`` is set and it has results, and remove a new folder that is empty."""
        self._lock.close()
        if not (keep and any(self.work.glob("*.npz"))):
            shutil.rmtree(self.work)
            if self._new and not any(self.path.iterdir()):
                self.path.rmdir()

    def _must_be_ours(self, names: list[str]) -> None:
        there = [name for name in names if (self.path / name).exists()]
        if there and not self._is_ours():
            raise ValueError(
                f"'{self.path}' has {', '.join(there)} of another program; name another folder with --output"
            )

    def _is_ours(self) -> bool:
        if self._going_on:
            return True
        try:
            made_by = json.loads((self.path / "metrics.json").read_text()).get("made_by", "")
        except (OSError, ValueError, AttributeError):
            return False
        return made_by == MADE_BY
