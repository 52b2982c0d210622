"""The history of all actions in one SQLite file; the state follows from it.

    meta       key, value                        format_version, proposals (fingerprint), cutouts (fingerprint),
                                                 attributes (JSON: proposed group -> name -> value)
    cutouts    number, cutout_id, category, proposed_group, confidence
    actions    action, at (UTC), annotator, kind, parameters (JSON), changes (JSON), undoes, request
    touches    action, group_number              which groups an action changed
    snapshot   revision, state (JSON)            spares replaying the whole history when a store is opened

Triggers refuse to change or delete cut-outs and actions. An action is confirmed when its transaction is on the disk
(write-ahead log, synchronous=FULL); killing the process at any moment loses none that was confirmed and leaves none
half done. Several processes may work on one file: each catches up before it writes.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.patterns.proposals import Proposals
from fos_jax.verification.actions import check_annotator, plan
from fos_jax.verification.state import Changes, State, proposed_state

FORMAT_VERSION = 1
_SNAPSHOT_EVERY = 500
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cutouts (number INTEGER PRIMARY KEY, cutout_id TEXT NOT NULL UNIQUE, category TEXT NOT NULL,
  proposed_group INTEGER NOT NULL, confidence REAL NOT NULL);
CREATE TABLE actions (action INTEGER PRIMARY KEY, at TEXT NOT NULL, annotator TEXT NOT NULL, kind TEXT NOT NULL,
  parameters TEXT NOT NULL, changes TEXT NOT NULL, undoes INTEGER UNIQUE REFERENCES actions, request TEXT UNIQUE);
CREATE TABLE touches (action INTEGER NOT NULL REFERENCES actions, group_number INTEGER NOT NULL,
  PRIMARY KEY (group_number, action)) WITHOUT ROWID;
CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TRIGGER actions_stay BEFORE UPDATE ON actions BEGIN SELECT RAISE(ABORT, 'actions are never changed'); END;
CREATE TRIGGER actions_remain BEFORE DELETE ON actions BEGIN SELECT RAISE(ABORT, 'actions are never deleted'); END;
CREATE TRIGGER cutouts_stay BEFORE UPDATE ON cutouts BEGIN SELECT RAISE(ABORT, 'cut-outs are never changed'); END;
CREATE TRIGGER cutouts_remain BEFORE DELETE ON cutouts BEGIN SELECT RAISE(ABORT, 'cut-outs are never deleted'); END;
"""


class StaleError(InputError):
    """Somebody changed what an action is about since its annotator saw it.

    Attributes:
      conflicts: for each group `group`, `expected` and `revision`, and under `changed_by` the actions in between.
    """

    def __init__(self, message: str, conflicts: list[dict[str, Any]]):
        super().__init__(message)
        self.conflicts = conflicts


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """An action that is on the disk.

    Attributes:
      action: its number; None where everything was as wanted already and nothing was written.
      kind: of the action; of the one that was taken back, after an undo.
      revisions: touched group -> its new revision.
    """

    action: int | None
    kind: str
    revisions: Mapping[int, int]


class Store:
    """A verification in progress.

    Attributes:
      path: of the file.
      cutout_ids, categories: of the cut-outs, by number.
      confidence: of the proposal, by number.
      cutouts: fingerprint of the cut-out set.
      proposals: fingerprint of the proposals.
    """

    def __init__(self, path: str | Path, proposals: Proposals | None = None):
        """Opens a store, or makes one from `proposals` where there is none.

        Raises:
          InputError: the file is no store, belongs to other proposals, or is missing and no proposals came.
        """
        self.path = Path(path)
        if proposals is None and not self.path.exists():
            raise InputError(f"{path}: does not exist, expected a store of verified patterns")
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("PRAGMA foreign_keys=ON")
            if proposals is not None:
                self._create(proposals)
            self._load()
        except (sqlite3.DatabaseError, OSError) as error:
            raise InputError(f"{path}: not a store of verified patterns ({error})") from None
        if proposals is not None and self.proposals != fingerprint(proposals):
            raise InputError(f"{path}: belongs to other proposals, expected a store of these (or a new file)")

    def close(self) -> None:
        """Closes the file; not needed for safety."""
        with self._lock:
            self._database.close()

    def _create(self, proposals: Proposals) -> None:
        with self._transaction():
            if self._database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                return
            for statement in _SCHEMA.split(";\n"):
                self._database.execute(statement)
            facts = [
                ("format_version", str(FORMAT_VERSION)),
                ("proposals", fingerprint(proposals)),
                ("cutouts", proposals.cutouts),
                ("attributes", json.dumps({group: dict(row) for group, row in proposals.attributes.items()})),
            ]
            self._database.executemany("INSERT INTO meta VALUES (?, ?)", facts)
            columns = (proposals.cutout_ids, proposals.categories, proposals.group.tolist())
            rows = zip(*columns, map(float, proposals.confidence), strict=True)
            self._database.executemany(
                "INSERT INTO cutouts VALUES (?, ?, ?, ?, ?)", ((number, *row) for number, row in enumerate(rows))
            )

    def _load(self) -> None:
        facts = dict(self._database.execute("SELECT key, value FROM meta"))
        if facts.get("format_version") != str(FORMAT_VERSION):
            raise InputError(f"{self.path}: format {facts.get('format_version')}, expected {FORMAT_VERSION}")
        self.cutouts, self.proposals = facts["cutouts"], facts["proposals"]
        rows = self._database.execute("SELECT * FROM cutouts ORDER BY number").fetchall()
        self.cutout_ids = tuple(row[1] for row in rows)
        self.categories = tuple(row[2] for row in rows)
        self.confidence = tuple(row[4] for row in rows)
        self._proposed = [row[3] for row in rows]
        self._attributes = {int(group): row for group, row in json.loads(facts.get("attributes", "{}")).items()}
        snapshot = self._database.execute("SELECT state FROM snapshot").fetchone()
        self._state = State.from_json(snapshot[0]) if snapshot else self._initial()
        self._catch_up()

    def _initial(self) -> State:
        return proposed_state(list(self.categories), self._proposed, self._attributes)

    def _catch_up(self) -> None:
        newer = self._database.execute(
            "SELECT action, changes FROM actions WHERE action > ? ORDER BY action", (self._state.revision,)
        )
        for action, changes in newer.fetchall():
            self._state.apply(Changes.from_json(changes), action)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """The present state, which nobody changes inside the block; do not change it or keep it."""
        with self._lock:
            self._catch_up()
            yield self._state

    def replayed(self) -> State:
        """The state from the history alone, without the snapshot."""
        with self._lock:
            state = self._initial()
            for action, changes in self._database.execute("SELECT action, changes FROM actions ORDER BY action"):
                state.apply(Changes.from_json(changes), action)
            return state

    def act(
        self,
        annotator: str,
        kind: str,
        parameters: Mapping[str, Any] | None = None,
        revisions: Mapping[int, int] | None = None,
        *,
        request: str | None = None,
    ) -> Confirmation:
        """Does one action; when this returns, it is on the disk.

        Args:
          annotator: who.
          kind, parameters: see `actions`.
          revisions: group -> revision that the annotator saw, for every group that the action is about; not for undo.
          request: a word of the caller's own; the same word again does nothing and returns the first confirmation, so
            that a caller who got no answer may repeat.

        Raises:
          StaleError: a group has another revision, or what is to be undone was built upon.
          UnknownError, InputError: see `actions.plan`; also where `revisions` lacks a group.
        """
        annotator, parameters = check_annotator(annotator), parameters or {}
        with self._lock, self._transaction():
            self._catch_up()
            known = self._requested(request)
            if known:
                return known
            undoes = None
            if kind == "undo":
                undoes, what, changes = self._undone(annotator)
            else:
                what = kind
                planned = plan(self._state, annotator, kind, parameters)
                self._check_revisions(planned.seen, revisions or {})
                changes = planned.changes
            if not changes and undoes is None:
                return Confirmation(None, kind, {})
            confirmation = self._write(annotator, kind, what, parameters, changes, undoes, request)
        assert confirmation.action is not None
        with self._lock:
            self._catch_up()
        return confirmation

    def _write(
        self,
        annotator: str,
        kind: str,
        what: str,
        parameters: Mapping[str, Any],
        changes: Changes,
        undoes: int | None,
        request: str | None,
    ) -> Confirmation:
        action = self._state.revision + 1
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        row = (action, at, annotator, kind, json.dumps(parameters), changes.to_json(), undoes, request)
        if self._state.revision and self._state.revision % _SNAPSHOT_EVERY == 0:
            self._database.execute(
                "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)", (self._state.revision, self._state.to_json())
            )
        self._database.execute("INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        touched = sorted(changes.touched())
        self._database.executemany("INSERT INTO touches VALUES (?, ?)", [(action, group) for group in touched])
        return Confirmation(action, what, dict.fromkeys(touched, action))

    def _requested(self, request: str | None) -> Confirmation | None:
        if request is None:
            return None
        row = self._database.execute("SELECT action, kind FROM actions WHERE request = ?", (request,)).fetchone()
        if not row:
            return None
        touched = self._database.execute("SELECT group_number FROM touches WHERE action = ?", (row[0],)).fetchall()
        return Confirmation(row[0], row[1], {group: row[0] for (group,) in touched})

    def _undone(self, annotator: str) -> tuple[int, str, Changes]:
        row = self._database.execute(
            "SELECT action, kind, changes FROM actions WHERE annotator = ? AND kind != 'undo' AND action NOT IN"
            " (SELECT undoes FROM actions WHERE undoes IS NOT NULL) ORDER BY action DESC LIMIT 1",
            (annotator,),
        ).fetchone()
        if not row:
            raise InputError(f"undo: {annotator} has no action that stands")
        action, kind, text = row
        changes = Changes.from_json(text).reversed()
        later = list(self._state.contradictions(changes))
        if later:
            what, key = later[0]
            groups = {key} if what in ("group", "pair") else {self._state.group_of[key]}
            groups |= {group for group in changes.touched() if group in self._state.groups}
            conflicts = [c for c in (self._conflict(group, action) for group in sorted(groups)) if c["changed_by"]]
            raise StaleError(f"undo: action {action} ({kind}) was built upon since{_who(conflicts)}", conflicts)
        return action, kind, changes

    def _check_revisions(self, seen: frozenset[int], revisions: Mapping[int, int]) -> None:
        missing = sorted(seen - set(revisions))
        if missing:
            raise InputError(f"revisions: group {missing[0]} is missing, expected the revision that was seen")
        stale = [group for group in sorted(seen) if self._state.revisions[group] != revisions[group]]
        if stale:
            conflicts = [self._conflict(group, revisions[group]) for group in stale]
            raise StaleError(f"group {stale[0]}: changed since it was shown{_who(conflicts)}", conflicts)

    def _conflict(self, group: int, expected: int) -> dict[str, Any]:
        rows = self._database.execute(
            "SELECT action, at, annotator, kind FROM actions JOIN touches USING (action)"
            " WHERE group_number = ? AND action > ? ORDER BY action",
            (group, expected),
        ).fetchall()
        changed_by = [dict(zip(("action", "at", "annotator", "kind"), row, strict=True)) for row in rows]
        return {
            "group": group,
            "expected": expected,
            "revision": self._state.revisions.get(group, 0),
            "changed_by": changed_by,
        }

    def history(self, *, limit: int = 100, before: int | None = None) -> list[dict[str, Any]]:
        """The last actions, the newest first, each with its columns (but the changes) and `undone_by`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT a.action, a.at, a.annotator, a.kind, a.parameters, a.undoes, u.action FROM actions a"
                " LEFT JOIN actions u ON u.undoes = a.action WHERE a.action < ? ORDER BY a.action DESC LIMIT ?",
                (before or 2**62, limit),
            ).fetchall()
        names = ("action", "at", "annotator", "kind", "parameters", "undoes", "undone_by")
        return [dict(zip(names, row, strict=True)) | {"parameters": json.loads(row[4])} for row in rows]

    def annotators(self) -> list[str]:
        """Everybody who did something, by name."""
        with self._lock:
            return [row[0] for row in self._database.execute("SELECT DISTINCT annotator FROM actions ORDER BY 1")]


def fingerprint(proposals: Proposals) -> str:
    """Sixteen hex digits of the cut-outs and their proposed groups."""
    rows = [proposals.cutouts, proposals.cutout_ids, proposals.categories, proposals.group.tolist()]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def _who(conflicts: list[dict[str, Any]]) -> str:
    last = [conflict["changed_by"][-1] for conflict in conflicts if conflict["changed_by"]]
    if not last:
        return ""
    entry = max(last, key=lambda entry: entry["action"])
    return f": {entry['kind']} by {entry['annotator']} (action {entry['action']})"
