"""The store: actions by hand, conflicts, undo, replay, and what survives a kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.patterns.proposals import Proposals
from fos_jax.verification import store as store_module
from fos_jax.verification.actions import UnknownError
from fos_jax.verification.store import StaleError, Store

# Groups 0, 1, 2 of cars (3, 2, 2 members), one outlier; group 3 of cups (2). Then by category: outliers, rejected.
GROUP = [0, 0, 0, 1, 1, 2, 2, -1, 3, 3]
CAR_OUTLIERS, CAR_REJECTED, CUP_OUTLIERS, CUP_REJECTED = 4, 5, 6, 7


def proposals(group=GROUP):
    n = len(group)
    categories = tuple("cup" if g == 3 else "car" for g in group)
    ids = tuple(f"cut/{i}" for i in range(n))
    return Proposals(ids, categories, np.array(group), np.linspace(1, 0.5, n).astype(np.float32), "cutouts-1", {})


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store.sqlite", proposals())
    yield made
    made.close()


def act(store, who, kind, **parameters):
    """Acts on what is there now."""
    with store.reading() as state:
        revisions = dict(state.revisions)
    return store.act(who, kind, parameters, revisions)


def members(store, group):
    with store.reading() as state:
        return sorted(state.members[group])


def test_proposal_is_the_first_state(store):
    assert members(store, 0) == [0, 1, 2]
    assert members(store, CAR_OUTLIERS) == [7]
    assert members(store, CAR_REJECTED) == members(store, CUP_REJECTED) == []
    with store.reading() as state:
        assert state.groups[CUP_OUTLIERS].kind == "outliers"
        assert state.revision == 0


def test_move_split_merge_reject_by_hand(store):
    assert act(store, "ann", "move", cutouts=[7], to=1).revisions == {1: 1, CAR_OUTLIERS: 1}
    assert members(store, 1) == [3, 4, 7]
    assert act(store, "ann", "split", group=0, cutouts=[0]).revisions == {0: 2, 8: 2}
    assert (members(store, 0), members(store, 8)) == ([1, 2], [0])
    assert act(store, "ann", "merge", groups=[1, 2], into=8).revisions == {1: 3, 2: 3, 8: 3}
    assert members(store, 8) == [0, 3, 4, 5, 6, 7]
    assert act(store, "ann", "reject", cutouts=[2]).revisions == {0: 4, CAR_REJECTED: 4}
    with store.reading() as state:
        assert state.groups[1].merged_into == 8
        # what was moved, split or rejected was judged; what was merged was not, but verdicts follow
        assert state.verdicts == {7: {"ann": 8}, 0: {"ann": 8}, 2: {"ann": CAR_REJECTED}}
        assert list(state.standing()) == [0, 3, 4, 5, 6, 7, 8]


def test_names_attributes_and_marks(store):
    act(store, "ann", "name", group=0, name="left side")
    act(store, "ann", "attributes", group=0, attributes={"yaw": "left", "light": "sun"})
    act(store, "ann", "compatible", groups=[2, 0])
    act(store, "ann", "merge", groups=[0], into=1)
    with store.reading() as state:
        assert state.groups[1].name == "left side"  # the only name there was
        assert state.pairs == {(1, 2)}
    assert act(store, "ann", "compatible", groups=[1, 2]).action is None  # marked already: nothing to write
    act(store, "ann", "compatible", groups=[1, 2], is_marked=False)
    with store.reading() as state:
        assert state.pairs == set()


def test_confirming_records_verdicts_and_makes_nobody_stale(store):
    with store.reading() as state:
        revisions = dict(state.revisions)
    assert store.act("ann", "confirm", {"group": 0}, revisions).revisions == {}
    assert store.act("bob", "confirm", {"group": 0, "cutouts": [1]}, revisions).action == 2
    with store.reading() as state:
        assert state.verdicts == {0: {"ann": 0}, 1: {"ann": 0, "bob": 0}, 2: {"ann": 0}}
        assert not state.is_disputed(1)
    act(store, "bob", "move", cutouts=[1], to=1)
    with store.reading() as state:
        assert state.is_disputed(1)
    act(store, "eve", "confirm", group=1, cutouts=[1])
    with store.reading() as state:
        assert state.settled_group(1) == 1


def test_stale_action_is_refused_with_what_changed(store):
    with store.reading() as state:
        seen = dict(state.revisions)
    store.act("ann", "move", {"cutouts": [0], "to": 1}, seen)
    with pytest.raises(StaleError, match=r"group 0: changed since it was shown: move by ann \(action 1\)") as caught:
        store.act("bob", "merge", {"groups": [0], "into": 2}, seen)
    (conflict,) = caught.value.conflicts
    assert (conflict["group"], conflict["expected"], conflict["revision"]) == (0, 0, 1)
    assert conflict["changed_by"][0]["annotator"] == "ann"
    assert members(store, 0) == [1, 2]
    store.act("bob", "move", {"cutouts": [5], "to": CAR_OUTLIERS}, seen)  # groups that nobody changed
    with pytest.raises(InputError, match="revisions: group 2 is missing"):
        store.act("bob", "confirm", {"group": 2}, {})


def test_undo_goes_back_step_by_step_for_each_annotator(store):
    before = store.replayed().to_json()
    act(store, "ann", "split", group=0, cutouts=[0])
    act(store, "bob", "name", group=3, name="cup")
    act(store, "ann", "merge", groups=[1], into=2)
    assert act(store, "ann", "undo").kind == "merge"
    assert members(store, 1) == [3, 4]
    assert act(store, "ann", "undo").kind == "split"
    assert members(store, 0) == [0, 1, 2]
    with pytest.raises(InputError, match="undo: ann has no action that stands"):
        store.act("ann", "undo")
    assert act(store, "bob", "undo").kind == "name"
    after = store.replayed()
    assert json.loads(after.to_json())["group_of"] == json.loads(before)["group_of"]
    assert after.groups == {k: v for k, v in after.groups.items() if k != 8}
    assert act(store, "ann", "split", group=0, cutouts=[1]).revisions.keys() == {0, 9}  # no number is given twice
    assert [entry["undone_by"] for entry in store.history()] == [None, None, None, None, 4, 6, 5]


def test_undo_of_what_was_built_upon_is_refused(store):
    act(store, "ann", "split", group=0, cutouts=[0])
    act(store, "bob", "move", cutouts=[5], to=8)
    with pytest.raises(StaleError, match=r"undo: action 1 \(split\) was built upon since: move by bob \(action 2\)"):
        store.act("ann", "undo")
    act(store, "bob", "undo")
    act(store, "bob", "confirm", group=8)  # only a verdict, but it names the group that would vanish
    with pytest.raises(StaleError):
        store.act("ann", "undo")
    act(store, "bob", "undo")
    act(store, "bob", "compatible", groups=[8, 1])
    with pytest.raises(StaleError):
        store.act("ann", "undo")
    act(store, "bob", "undo")
    assert act(store, "ann", "undo").kind == "split"


def test_undo_never_brings_back_a_group_that_was_merged(store):
    act(store, "ann", "confirm", group=0)
    act(store, "ann", "move", cutouts=[0], to=1)
    act(store, "bob", "merge", groups=[0], into=2)
    with pytest.raises(StaleError, match="merge by bob"):
        store.act("ann", "undo")
    act(store, "bob", "undo")
    assert act(store, "ann", "undo").kind == "move"
    assert members(store, 0) == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "parameters", "kind_of_error", "message"),
    [
        ("paint", {}, InputError, "kind: got 'paint'"),
        ("move", {"cutouts": [99], "to": 0}, UnknownError, "there is no 99"),
        ("move", {"cutouts": [-1], "to": 0}, UnknownError, "there is no -1"),
        ("move", {"cutouts": [], "to": 0}, InputError, "cutouts: got \\[\\]"),
        ("move", {"cutouts": [0.5], "to": 0}, InputError, "whole numbers"),
        ("move", {"cutouts": [True], "to": 0}, InputError, "whole numbers"),
        ("move", {"cutouts": [0], "to": 77}, UnknownError, "group 77: does not exist"),
        ("move", {"cutouts": [0], "to": 3}, InputError, "several categories"),
        ("move", {"cutouts": [0, 8], "to": 0}, InputError, "several categories"),
        ("reject", {"cutouts": [0, 8]}, InputError, "several categories"),
        ("merge", {"groups": [0], "into": 0}, InputError, "none but the target"),
        ("merge", {"groups": [CAR_OUTLIERS], "into": 0}, InputError, "holds the outliers"),
        ("split", {"group": 0, "cutouts": [0, 1, 2]}, InputError, "all 3 members"),
        ("split", {"group": 0, "cutouts": [3]}, InputError, "3 is in group 1"),
        ("name", {"group": CAR_REJECTED, "name": "x"}, InputError, "holds the rejected"),
        ("name", {"group": 0, "name": "a\nb"}, InputError, "printable"),
        ("name", {"group": 0}, InputError, "name: got None"),
        ("name", {"group": "0", "name": "x"}, InputError, "number of a group"),
        ("attributes", {"group": 0, "attributes": {"yaw": 3}}, InputError, "attribute yaw"),
        ("attributes", {"group": 0, "attributes": {"": "x"}}, InputError, "empty name"),
        ("compatible", {"groups": [0, 0]}, InputError, "two groups"),
        ("confirm", {"group": 0, "colour": 1}, InputError, "unknown parameter 'colour'"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(store, kind, parameters, kind_of_error, message):
    with pytest.raises(kind_of_error, match=message) as caught:
        act(store, "ann", kind, **parameters)
    assert "\n" not in str(caught.value)
    assert store.history() == []


@pytest.mark.parametrize("name", ["", " ann", "a" * 61, "a\tb", None, 3])
def test_annotator_needs_a_name(store, name):
    with pytest.raises(InputError, match="annotator"):
        store.act(name, "undo")


def test_history_cannot_be_changed(store):
    act(store, "ann", "name", group=0, name="x")
    with sqlite3.connect(store.path) as database:
        for statement in ("UPDATE actions SET annotator = 'bob'", "DELETE FROM actions", "DELETE FROM cutouts"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                database.execute(statement)
    database.close()


def test_a_request_is_done_once(store):
    revisions = {0: 0, 1: 0}
    first = store.act("ann", "move", {"cutouts": [0], "to": 1}, revisions, request="r1")
    again = store.act("ann", "move", {"cutouts": [0], "to": 1}, revisions, request="r1")
    assert again == first
    assert len(store.history()) == 1


def test_other_files_are_refused(tmp_path):
    Store(tmp_path / "a.sqlite", proposals()).close()
    with pytest.raises(InputError, match="belongs to other proposals"):
        Store(tmp_path / "a.sqlite", proposals([0, 0, 1]))
    (tmp_path / "b.sqlite").write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.raises(InputError, match="not a store"):
        Store(tmp_path / "b.sqlite", proposals())
    with pytest.raises(InputError, match="does not exist"):
        Store(tmp_path / "c.sqlite")
    with sqlite3.connect(tmp_path / "d.sqlite") as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    with pytest.raises(InputError, match="not a store"):
        Store(tmp_path / "d.sqlite", proposals())


def test_two_processes_see_each_other(store):
    other = Store(store.path)
    act(store, "ann", "move", cutouts=[0], to=1)
    assert members(other, 1) == [0, 3, 4]
    act(other, "bob", "move", cutouts=[5], to=1)
    assert members(store, 1) == [0, 3, 4, 5]
    with pytest.raises(StaleError):
        store.act("ann", "confirm", {"group": 1}, {1: 1})
    other.close()


def test_two_annotators_at_once_lose_nothing(store):
    """Each repeats what was refused; afterwards all confirmed actions are there, in one order."""
    confirmed = {"ann": 0, "bob": 0}

    def work(who, cutouts):
        for step in range(25):
            while True:
                with store.reading() as state:
                    revisions = dict(state.revisions)
                    target = (0, 1)[state.group_of[cutouts[step % 2]] == 0]
                try:
                    done = store.act(who, "move", {"cutouts": [cutouts[step % 2]], "to": target}, revisions)
                    confirmed[who] += done.action is not None
                    break
                except StaleError:
                    continue

    threads = [threading.Thread(target=work, args=a) for a in (("ann", [0, 1]), ("bob", [3, 4]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert confirmed == {"ann": 25, "bob": 25}
    assert len(store.history()) == 50
    with store.reading() as state:
        assert state.to_json() == store.replayed().to_json()


COMMAND = st.tuples(
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["confirm", "move", "merge", "split", "reject", "name", "compatible", "undo", "undo"]),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.lists(st.integers(0, 10), min_size=2, max_size=2),
)


@hypothesis.given(st.lists(COMMAND, max_size=25))
@hypothesis.settings(max_examples=40)
def test_any_history_replays_and_undoes_to_the_proposal(tmp_path_factory, commands):
    path = tmp_path_factory.mktemp("replay") / "store.sqlite"
    original, store_module._SNAPSHOT_EVERY = store_module._SNAPSHOT_EVERY, 3
    store = Store(path, proposals())
    try:
        for who, kind, cutouts, groups in commands:
            parameters = {
                "confirm": {"group": groups[0]},
                "move": {"cutouts": cutouts, "to": groups[0]},
                "merge": {"groups": groups, "into": groups[0]},
                "split": {"group": groups[0], "cutouts": cutouts},
                "reject": {"cutouts": cutouts},
                "name": {"group": groups[0], "name": f"{groups[1]}"},
                "compatible": {"groups": groups},
            }.get(kind, {})
            try:
                act(store, who, kind, **parameters)
            except InputError:
                continue
        with store.reading() as state:
            present = state.to_json()
            # nothing is lost or doubled
            assert sorted(c for group in state.members.values() for c in group) == list(range(10))
            assert all(state.group_of[c] == g for g, inside in state.members.items() for c in inside)
            assert all(state.groups[g].merged_into is None for v in state.verdicts.values() for g in v.values())
            assert all(state.groups[g].merged_into is None for pair in state.pairs for g in pair)
        assert store.replayed().to_json() == present
        reopened = Store(path)
        with reopened.reading() as state:
            assert state.to_json() == present
        reopened.close()
        stuck = 0
        while stuck < 2:  # the annotators undo in turn until neither can
            stuck = 0
            for who in ("ann", "bob"):
                try:
                    act(store, who, "undo")
                except InputError:
                    stuck += 1
        with store.reading() as state:
            standing = [
                entry for entry in store.history(limit=200) if entry["kind"] != "undo" and not entry["undone_by"]
            ]
            if not standing:
                fresh = store._initial()
                assert state.group_of == fresh.group_of
                assert state.groups == fresh.groups
                assert not state.verdicts
                assert not state.pairs
    finally:
        store.close()
        store_module._SNAPSHOT_EVERY = original


WORKER = """
import sys
from fos_jax.verification.store import Store
store = Store(sys.argv[1])
while True:
    with store.reading() as state:
        revisions, target = dict(state.revisions), (0, 1)[state.group_of[0] == 0]
    print(store.act("ann", "move", {"cutouts": [0], "to": target}, revisions).action, flush=True)
"""


def test_kill_at_any_moment_loses_no_confirmed_action(store):
    last = 0
    for pause_s in (0.03, 0.11, 0.2):
        command = [sys.executable, "-c", WORKER, str(store.path)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert int(worker.stdout.readline()) == last + 1  # goes on where the history ended
        time.sleep(pause_s)
        worker.send_signal(signal.SIGKILL)
        printed = [line for line in worker.stdout.read().splitlines() if line]
        worker.wait()
        worker.stdout.close()
        # the last line may be torn by the kill: only whole numbers up to it were confirmed
        confirmed = max([last + 1, *map(int, printed[:-1])])
        reopened = Store(store.path)
        last = reopened.history(limit=1)[0]["action"]
        assert last >= confirmed
        with reopened.reading() as state:
            assert state.to_json() == reopened.replayed().to_json()
        assert reopened._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        reopened.close()
