"""The rows of a sqlite3 bag that is not whole."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata


class _Row(NamedTuple):
    time: int
    row: int
    topic: int


class DamagedSqlite:
    """A sqlite3 bag that is cut off, or whose write-ahead log was never merged: rows are read while they can be."""

    def __init__(self, path: Path, thorough: bool = False):
        self.path, self._thorough = path, thorough
        self.lost, self.connections, self.rows = "", [], []
        self._database = None

    def open(self) -> None:
        """Look for the rows; raises ReaderError if the file is no bag."""
        address = self.path.absolute().as_uri()
        try:
            # A write-ahead log is only read by an ordinary connection, which a read-only folder may not allow.
            self._database = sqlite3.connect(f"{address}?mode=ro", uri=True)
            try:
                self._open()
            except sqlite3.Error:
                self._database.close()
                self._database = sqlite3.connect(f"{address}?immutable=1", uri=True)
                self._open()
        except sqlite3.Error as error:
            self.close()
            raise ReaderError(f"it cannot be read as a sqlite3 bag: {error}") from None

    def _open(self) -> None:
        # Without this, SQLite refuses a file that is shorter than its header says.
        self._database.execute("PRAGMA writable_schema=ON")
        definitions = {}
        if self._database.execute("SELECT 1 FROM sqlite_master WHERE name='message_definitions'").fetchone():
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            kinds = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
            definitions = {
                kind: MessageDefinition(kinds[how], text) for kind, how, text in self._database.execute(query)
            }
        topics = self._database.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
        upwards, whole = self._scan("ASC")
        rows = upwards if whole else list(dict.fromkeys(upwards + self._scan("DESC")[0]))
        if not whole:
            self.lost = "the end of the database" if len(rows) == len(upwards) else "the middle of the database"
        if self._thorough:
            readable = [row for row in rows if self._data(row) is not None]
            if len(readable) < len(rows):
                self.lost = f"{len(rows) - len(readable)} messages of the database"
            rows = readable
        self.rows = sorted(rows)
        counts = Counter(row.topic for row in rows)
        none = MessageDefinition(MessageDefinitionFormat.NONE, "")
        self.connections = [
            Connection(
                number, name, kind, definitions.get(kind, none), "", counts[number], ConnectionExtRosbag2(how, []), self
            )
            for number, name, kind, how in topics
        ]

    def _scan(self, order: str) -> tuple[list[_Row], bool]:
        """Read times by ascending or descending row until the first that cannot be; also say whether all could."""
        rows = []
        try:
            query = f"SELECT timestamp, id, topic_id FROM messages NOT INDEXED ORDER BY id {order}"
            for row in self._database.execute(query):
                rows.append(_Row(*row))
        except sqlite3.Error:
            return rows, False
        return rows, True

    def _data(self, row: _Row) -> bytes | None:
        try:
            found = self._database.execute("SELECT data FROM messages WHERE id = ?", (row.row,)).fetchone()
        except sqlite3.Error:
            return None
        return found and found[0]

    @property
    def metadata(self):
        """Times, as rosbags' storages have them."""
        start, stop = (self.rows[0].time, self.rows[-1].time + 1) if self.rows else (2**63 - 1, 0)
        return ReaderMetadata(max(stop - start, 0), start, stop, len(self.rows), None, None, None, None)

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
        self._database = None

    def messages(self, connections, start=None, stop=None) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield connection, time and bytes in the order of time; rows that cannot be read are left out."""
        chosen = {connection.id: connection for connection in connections}
        for row in self.rows:
            if row.topic not in chosen or (start is not None and row.time < start):
                continue
            if stop is not None and row.time >= stop:
                return
            data = self._data(row)
            if data is not None:
                yield chosen[row.topic], row.time, data

    def times(self, topic: str) -> np.ndarray:
        """Return the times of receipt of a topic, int64 [n], ascending."""
        numbers = {connection.id for connection in self.connections if connection.topic == topic}
        return np.array([row.time for row in self.rows if row.topic in numbers], np.int64)
