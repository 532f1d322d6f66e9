"""Reader of the sqlite3 storage of rosbag2, of any version; rows are read one by one, and damaged rows are skipped."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from depth_estimation_ros.bags.storage.common import Channel, Message, name_of

MAGIC = b"SQLite format 3\0"
_ROW = np.dtype([("time", "<i8"), ("row", "<i8"), ("channel", "<i8")])


class Sqlite:
    """
    Open sqlite3 bag; see `Storage`.

    Raises
    ------
    ValueError
        If it is not a sqlite3 bag, or is empty.
    """

    def __init__(self, path: Path):
        self.path, self._lost = path, ""
        self.channels: dict[int, Channel] = {}
        self._bad: set[int] = set()
        log = path.with_name(path.name + "-wal")
        # Only an ordinary connection reads a write-ahead log, but it may fail in a read-only folder.
        modes = (["mode=ro"] if log.exists() and log.stat().st_size else []) + ["immutable=1"]
        for k, mode in enumerate(modes, 1):
            self._database = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, check_same_thread=False)
            self._database.text_factory = lambda text: text.decode(errors="replace")
            try:
                self._open()
                return
            except (sqlite3.Error, OverflowError) as error:
                self._database.close()
                if k == len(modes):
                    reason = f"it cannot be read as a sqlite3 bag: {error}" if path.stat().st_size else "it is empty"
                    raise ValueError(reason) from None

    def _open(self) -> None:
        # Without this, SQLite refuses a file that is shorter than stated in its header.
        self._database.execute("PRAGMA writable_schema=ON")
        for number, *values in self._database.execute("SELECT id, name, type, serialization_format FROM topics"):
            if isinstance(number, int):
                self.channels[number] = Channel(*map(name_of, values))
        upwards, whole = self._scan("ASC")
        rows = upwards if whole else np.unique(np.concatenate([upwards, self._scan("DESC")[0]]))
        if not whole:
            self._lost = "the end of the database" if len(rows) == len(upwards) else "the middle of the database"
        self._rows = np.sort(rows, order=("time", "row"))
        self.counts = Counter(self._rows["channel"].tolist())

    @property
    def begin(self) -> int:
        """Time of the first message, ns."""
        return int(self._rows["time"][0]) if len(self._rows) else 0

    @property
    def damage(self) -> str:
        """See `Storage`."""
        lost = self._lost or ("rows of the database" if self._bad else "")
        return lost and f"{lost} cannot be read"

    def _scan(self, order: str) -> tuple[np.ndarray, bool]:
        """Read times in ascending or descending order of rows until an error; also return whether all were read."""
        whole = False

        def rows() -> Iterator[tuple[int, int, int]]:
            nonlocal whole
            query = f"SELECT timestamp, id, topic_id FROM messages NOT INDEXED ORDER BY id {order}"
            with suppress(sqlite3.Error):
                for row in self._database.execute(query):
                    if all(isinstance(value, int) for value in row):
                        yield row
                    else:
                        self._bad.add(row[1])
                whole = True

        return np.fromiter(rows(), _ROW), whole

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def messages(self, numbers: set[int], start: int, stop: int) -> Iterator[Message]:
        """See `Storage`."""
        first, last = np.searchsorted(self._rows["time"], [start, stop])
        rows = self._rows[first:last]
        for time, row, channel in rows[np.isin(rows["channel"], list(numbers))].tolist():
            try:
                found = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone()
            except sqlite3.Error:
                found = None
            if found and isinstance(found[0], bytes):
                yield time, channel, found[0]
            else:
                self._bad.add(row)

    def times(self, numbers: set[int]) -> np.ndarray:
        """See `Storage`."""
        return self._rows["time"][np.isin(self._rows["channel"], list(numbers))]
