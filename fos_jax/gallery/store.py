"""The database of a gallery, gallery.db: live segments, journal, removed rows of segments and recent foregrounds.

One SQLite transaction makes a change atomic, durable (write-ahead log, synchronous=FULL) and visible. A foreground's
place is a segment's name and a row of it, or "" and a number among the recent.
"""

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fos_jax.errors import BusyError, InputError
from fos_jax.gallery.foregrounds import SCHEMA, Foregrounds

DATABASE = "gallery.db"
_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE segment (name TEXT PRIMARY KEY, checksum TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (sequence INTEGER PRIMARY KEY AUTOINCREMENT, time_s REAL NOT NULL, action TEXT NOT NULL,
  num_added INTEGER NOT NULL, num_removed INTEGER NOT NULL, note TEXT NOT NULL);
CREATE TABLE change (number INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, segment TEXT NOT NULL, row INTEGER NOT NULL,
  id TEXT NOT NULL, is_live INTEGER NOT NULL);
CREATE INDEX change_by_sequence ON change (sequence);
CREATE TABLE tombstone (segment TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (segment, row)) WITHOUT ROWID;
CREATE TABLE recent (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, is_live INTEGER NOT NULL,
  category TEXT NOT NULL, metadata TEXT NOT NULL, embedding BLOB NOT NULL, vector BLOB NOT NULL,
  mirrored_embedding BLOB, mirrored_vector BLOB, checksum BLOB NOT NULL, thumbnail BLOB NOT NULL, cutout BLOB NOT NULL);
CREATE UNIQUE INDEX recent_by_id ON recent (id) WHERE is_live;
"""
_SMALL = "number, id, is_live, category, metadata, embedding, vector, mirrored_embedding, mirrored_vector"
_PICTURES = "checksum, thumbnail, cutout"
HORIZON = "horizon"  # sequence number of the oldest state that can be rolled back to


class Place(NamedTuple):
    """Where a foreground lies: row of a segment, or with an empty name its number among the recent."""

    segment: str
    row: int


class Change(NamedTuple):
    """A foreground that came or went."""

    sequence: int
    place: Place
    id: str
    is_live: bool


class Entry(NamedTuple):
    """One line of the journal."""

    sequence: int
    time_s: float
    action: str
    num_added: int
    num_removed: int
    note: str


class RecentRow(NamedTuple):
    """A recent foreground as the database holds it, pictures only where they were asked for; vectors as float32."""

    number: int
    id: str
    is_live: int
    category: str
    metadata: str
    embedding: bytes
    vector: bytes
    mirrored_embedding: bytes | None
    mirrored_vector: bytes | None
    checksum: bytes = b""
    thumbnail: bytes = b""
    cutout: bytes = b""

    def measured(self) -> bytes:
        """SHA-256 of all that a foreground is."""
        digest = hashlib.sha256()
        parts = (self.id.encode(), self.category.encode(), self.metadata.encode(), *self[5:9], *self[10:])
        for part in parts:
            digest.update(b"-" if part is None else len(part).to_bytes(8, "big") + part)
        return digest.digest()


class Store:
    """A connection to the database; one thread at a time."""

    def __init__(self, gallery: Path, *, is_writer: bool = False, wait_s: float = 10.0):
        """Opens it.

        Args:
          gallery: the gallery's folder.
          is_writer: whether it is written to.
          wait_s: how long to wait for another writer; 0 to be refused at once.

        Raises:
          InputError: no database there, or a damaged one.
        """
        self.path = gallery / DATABASE
        self._wait_s = wait_s
        if not self.path.is_file():
            raise InputError(f"{self.path}: missing")
        with self._errors():
            self._db = self._connect("rw" if is_writer else "ro")
            self._inode = self.path.stat().st_ino
            try:
                self._db.execute("SELECT count(*) FROM segment").fetchone()
            except sqlite3.OperationalError as error:
                # A folder that cannot be written has no room for the files that readers share: nobody writes to it.
                self._db.close()
                wal = self.path.with_name(f"{DATABASE}-wal")
                is_refused = any(words in str(error) for words in ("unable to open", "readonly database"))
                if is_writer or not is_refused or (wal.exists() and wal.stat().st_size):
                    raise
                self._db = self._connect("ro&immutable=1")

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.resolve().as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=self._wait_s, check_same_thread=False)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA trusted_schema=OFF")
        return db

    @staticmethod
    def create(gallery: Path, settings: dict[str, Any]) -> None:
        """Makes an empty database in a folder."""
        with contextlib.closing(sqlite3.connect(gallery / DATABASE, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_TABLES)
            db.executemany("INSERT INTO setting VALUES (?, ?)", list({HORIZON: 0, **settings}.items()))

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of SQLite as one line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                waited = f" for {self._wait_s:g} s" if self._wait_s else ""
                raise BusyError(f"{self.path}: another process is writing to this gallery{waited}") from None
            raise InputError(f"{self.path}: refused ({error}); the gallery is as it was") from None
        except (sqlite3.DatabaseError, OSError) as error:
            raise InputError(f"{self.path}: damaged ({error}); fos gallery verify lists all that is") from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A block in which every read sees the same state."""
        with self._errors():
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer: all of the block, on the disk when it ends, or nothing of it.

        Raises:
          BusyError: another writer for too long, or the gallery was built again meanwhile.
          InputError: a disk that refuses.
        """
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self.is_replaced():
                    raise BusyError(f"{self.path.parent}: was replaced by another build, open it again")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def is_replaced(self) -> bool:
        """Whether another file, or none, is in the place of the one that is open."""
        return not self.path.exists() or self.path.stat().st_ino != self._inode

    def data_version(self) -> int:
        """A number that differs once another connection has changed anything."""
        with self._errors():
            return self._db.execute("PRAGMA data_version").fetchone()[0]

    def check_integrity(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        try:
            found = [row[0] for row in self._db.execute("PRAGMA integrity_check")]
        except sqlite3.DatabaseError as error:
            found = [str(error)]
        return [] if found == ["ok"] else found


def sequence(db: sqlite3.Connection) -> int:
    """The newest sequence number of the journal."""
    return db.execute("SELECT coalesce(max(sequence), 0) FROM journal").fetchone()[0]


def setting(db: sqlite3.Connection, name: str) -> Any:
    """A setting's value; None where there is none."""
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row and row[0]


def set_setting(db: sqlite3.Connection, name: str, value: Any) -> None:
    """Sets a setting."""
    db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))


def segments(db: sqlite3.Connection) -> dict[str, str]:
    """Name -> checksum of the live segments, oldest first."""
    return dict(db.execute("SELECT name, checksum FROM segment ORDER BY name"))


def add_segment(db: sqlite3.Connection, name: str, checksum: str) -> None:
    """Lists a segment as live."""
    db.execute("INSERT INTO segment VALUES (?, ?)", (name, checksum))


def tombstones(db: sqlite3.Connection, segment: str) -> np.ndarray:
    """int64 [m]: removed rows of a segment."""
    found = db.execute("SELECT row FROM tombstone WHERE segment = ?", (segment,))
    return np.fromiter((row for (row,) in found), np.int64)


def recent_rows(db: sqlite3.Connection, *, after: int = 0, pictures: bool = False) -> Iterator[RecentRow]:
    """Recent foregrounds, removed ones too, whose numbers are above `after`, in their order."""
    wanted = f"{_SMALL}, {_PICTURES}" if pictures else _SMALL
    found = db.execute(f"SELECT {wanted} FROM recent WHERE number > ? ORDER BY number", (after,))
    return (RecentRow(*row) for row in found)


def picture(db: sqlite3.Connection, number: int, blob: str) -> bytes | None:
    """PNG file of a recent foreground, "thumbnail" or "cutout"; None where it is not recent any more."""
    row = db.execute(f"SELECT {blob} FROM recent WHERE number = ?", (number,)).fetchone()
    return row and row[0]


def changes(db: sqlite3.Connection, *, after: int) -> list[Change]:
    """Changes of journal entries after a sequence number, in their order."""
    wanted = "SELECT sequence, segment, row, id, is_live FROM change WHERE sequence > ? ORDER BY number"
    return [Change(s, Place(segment, row), i, bool(live)) for s, segment, row, i, live in db.execute(wanted, (after,))]


def journal(db: sqlite3.Connection, *, after: int = 0) -> list[Entry]:
    """The entries after a sequence number, in their order."""
    return [Entry(*row) for row in db.execute("SELECT * FROM journal WHERE sequence > ? ORDER BY sequence", (after,))]


def add_entry(db: sqlite3.Connection, action: str, *, added: int = 0, removed: int = 0, note: str = "") -> int:
    """Writes a line of the journal and returns its sequence number."""
    values = (time.time(), action, added, removed, note)
    done = db.execute(
        "INSERT INTO journal (time_s, action, num_added, num_removed, note) VALUES (?, ?, ?, ?, ?)", values
    )
    assert done.lastrowid is not None
    return done.lastrowid


def rows_of(batch: Foregrounds) -> Iterator[RecentRow]:
    """Foregrounds as the database keeps them, without numbers."""
    mirrored = {place: i for i, place in enumerate(batch.mirrored.tolist())}
    for i, metadata in enumerate(batch.metadata.select(SCHEMA.names).to_pylist()):
        m = mirrored.get(i)
        row = RecentRow(
            0,
            metadata["id"],
            1,
            batch.category,
            json.dumps(metadata),
            batch.embeddings[i].tobytes(),
            batch.vectors[i].tobytes(),
            None if m is None else batch.mirrored_embeddings[m].tobytes(),
            None if m is None else batch.mirrored_vectors[m].tobytes(),
            b"",
            batch.thumbnails[i],
            batch.cutouts[i],
        )
        yield row._replace(checksum=row.measured())


def insert_recent(db: sqlite3.Connection, batch: Foregrounds) -> list[Place]:
    """Stores foregrounds as recent ones, live at once; returns their places. The caller notes the changes."""
    places = []
    for row in rows_of(batch):
        names = f"{_SMALL}, {_PICTURES}".partition(", ")[2]
        done = db.execute(f"INSERT INTO recent ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row[1:])
        assert done.lastrowid is not None
        places.append(Place("", done.lastrowid))
    return places


def set_live(db: sqlite3.Connection, changed: Iterable[Change]) -> None:
    """Makes foregrounds that are stored live or removed ones, and notes each change; new ones are noted only."""
    for number, place, identifier, is_live in changed:
        if not place.segment:
            db.execute("UPDATE recent SET is_live = ? WHERE number = ?", (is_live, place.row))
        elif is_live:
            db.execute("DELETE FROM tombstone WHERE segment = ? AND row = ?", place)
        else:
            db.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?)", place)
        values = (number, *place, identifier, is_live)
        db.execute("INSERT INTO change (sequence, segment, row, id, is_live) VALUES (?, ?, ?, ?, ?)", values)


def live_recent(db: sqlite3.Connection, identifier: str) -> int | None:
    """Number of the live recent foreground of an id."""
    row = db.execute("SELECT number FROM recent WHERE id = ? AND is_live", (identifier,)).fetchone()
    return row and row[0]


def is_removed(db: sqlite3.Connection, place: Place) -> bool:
    """Whether a row of a segment is removed."""
    return db.execute("SELECT 1 FROM tombstone WHERE segment = ? AND row = ?", place).fetchone() is not None


def swap_segments(
    db: sqlite3.Connection, live: dict[str, str], last_number: int, state: int, moved: dict[Place, Place]
) -> None:
    """Puts segments in the place of all before and of the recent foregrounds up to a number.

    Args:
      live: name -> checksum of the new segments.
      last_number: of the recent foregrounds that they hold.
      state: sequence number of the state that they hold; what came before cannot be rolled back to any more.
      moved: of foregrounds that were removed since: where they were -> where they are.
    """
    for table in ("segment", "tombstone"):
        db.execute(f"DELETE FROM {table}")
    db.execute("DELETE FROM recent WHERE number <= ?", (last_number,))
    db.executemany("INSERT INTO segment VALUES (?, ?)", live.items())
    for old, new in moved.items():
        values = (*new, *old, state)
        db.execute("UPDATE change SET segment = ?, row = ? WHERE segment = ? AND row = ? AND sequence > ?", values)
        db.execute("INSERT INTO tombstone VALUES (?, ?)", new)
    set_setting(db, HORIZON, state)
