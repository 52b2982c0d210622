"""Objects brought together by photograph, on disk: annotation files list them in any order."""

import itertools
import json
import sqlite3
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from fos_jax.errors import InputError

Row = tuple[str, int, Any]  # key, position in its file, JSON value


class GroupingIndex:
    """A temporary SQLite file that groups objects by photograph; memory does not grow with their number.

    100,000 annotations with polygons are hundreds of megabytes as Python objects.
    """

    def __init__(self) -> None:
        # No name: SQLite makes a temporary file and removes it when the connection ends.
        # One thread uses the connection at a time, but the garbage collector may close it in any.
        self._database = sqlite3.connect("", check_same_thread=False)
        weakref.finalize(self, self._database.close)
        self._database.executescript(
            # Nobody reads the file after this process: no journal, no waiting for the disk.
            """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;
            CREATE TABLE photograph (position INTEGER PRIMARY KEY, key TEXT UNIQUE, record TEXT);
            CREATE TABLE object (position INTEGER PRIMARY KEY, key TEXT UNIQUE, photograph TEXT, record TEXT);"""
        )

    def add_photographs(self, rows: Iterable[Row], *, where: str) -> None:
        """Adds (id, position, record); `InputError` names an id that is there twice as `where[position].id`."""
        self._insert("INSERT INTO photograph VALUES (?, ?, ?)", ((p, k, json.dumps(r)) for k, p, r in rows), where)

    def add_objects(self, rows: Iterable[tuple[str, str, int, Any]], *, where: str) -> None:
        """Adds (id, photograph's id, position, record); errors as above."""
        values = ((p, k, g, json.dumps(r)) for k, g, p, r in rows)
        self._insert("INSERT INTO object VALUES (?, ?, ?, ?)", values, where)

    def _insert(self, statement: str, rows: Iterable[tuple], where: str) -> None:
        last: tuple = ()
        try:
            for last in rows:
                self._database.execute(statement, last)
        except sqlite3.IntegrityError:
            position, key = last[:2]
            raise InputError(f"{where}[{position}]: id {key[:40]!r} is there twice") from None
        self._database.commit()

    def add_fields(self, rows: Iterable[tuple[str, str, Any]]) -> Iterator[tuple[str, Any, Any]]:
        """Adds the fields of (id, where, record) to the record of that object, whose own fields stay.

        Yields:
          (where, the object's record before, None where there is no such object; the record that came).
        """
        for key, where, record in rows:
            row = self._database.execute("SELECT record FROM object WHERE key = ?", (key,)).fetchone()
            have = None if row is None else json.loads(row[0])
            yield where, have, record
            if have is not None:
                text = json.dumps({**record, **have})
                self._database.execute("UPDATE object SET record = ? WHERE key = ?", (text, key))
        self._database.commit()

    def add_photographs_of_objects(self) -> None:
        """Makes an empty record ({}) for each photograph that objects name, for formats without a list of them."""
        self._database.execute(
            "INSERT INTO photograph SELECT MIN(position), photograph, '{}' FROM object GROUP BY photograph"
        )
        self._database.commit()

    def set_photographs(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Sets (id, record) where the photograph is there; others are passed over."""
        statement = "UPDATE photograph SET record = ? WHERE key = ?"
        self._database.executemany(statement, ((json.dumps(record), key) for key, record in rows))
        self._database.commit()

    def finish(self) -> None:
        """Makes grouping fast; call once after the last row."""
        self._database.execute("CREATE INDEX by_photograph ON object (photograph, position)")
        self._database.commit()

    def orphans(self) -> tuple[int, int, str]:
        """How many objects have no photograph, and of the first of them its position and its photograph's id."""
        row = self._database.execute(
            """SELECT COUNT(*), MIN(position), photograph FROM object
            WHERE photograph NOT IN (SELECT key FROM photograph)"""
        ).fetchone()
        return row

    def count_photographs(self) -> int:
        """Photographs that have objects."""
        statement = "SELECT COUNT(DISTINCT photograph) FROM object WHERE photograph IN (SELECT key FROM photograph)"
        return self._database.execute(statement).fetchone()[0]

    def groups(self) -> Iterator[tuple[Row, list[Row]]]:
        """Each photograph that has objects, with them, in the order of the files."""
        # CROSS JOIN keeps photographs in the outer loop: rows then come in order, nothing is sorted.
        rows = self._database.execute(
            """SELECT p.key, p.position, p.record, o.key, o.position, o.record
            FROM photograph p CROSS JOIN object o ON o.photograph = p.key ORDER BY p.position, o.position"""
        )
        for head, group in itertools.groupby(rows, key=lambda row: row[:3]):
            key, position, record = head
            yield (key, position, json.loads(record)), [(row[3], row[4], json.loads(row[5])) for row in group]

    def close(self) -> None:
        """Removes the file."""
        self._database.close()
