"""Agreement by hand, the queue of disagreements, and exports that come back as they were written."""

import json

import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.patterns.proposals import Proposals
from fos_jax.verification.export import read_export, write_export
from fos_jax.verification.state import agreement, disagreements, progress
from fos_jax.verification.store import Store

GROUP = [0, 0, 0, 1, 1, 2, 2, -1]


@pytest.fixture
def store(tmp_path):
    categories = ("car",) * 5 + ("cup",) * 2 + ("car",)
    ids = tuple(f"é{i}/x" for i in range(8))
    confidence = np.linspace(1, 0.3, 8).astype(np.float32)
    made = Store(tmp_path / "store.sqlite", Proposals(ids, categories, np.array(GROUP), confidence, "set-1", {}))
    yield made
    made.close()


def act(store, who, kind, **parameters):
    with store.reading() as state:
        revisions = dict(state.revisions)
    return store.act(who, kind, parameters, revisions)


def test_agreement_by_hand(store):
    act(store, "ann", "confirm", group=0)
    act(store, "ann", "confirm", group=1)
    for cutouts, to in (([0, 1], 0), ([2], 1), ([3, 4], 1)):
        act(store, "bob", "move", cutouts=cutouts, to=to)
    with store.reading() as state:
        (pair,) = agreement(state)
        # 4 of 5 the same; chance: .6 x .4 + .4 x .6 = .48; kappa = (.8 - .48) / (1 - .48)
        assert pair == {
            "annotators": ["ann", "bob"],
            "cutouts": 5,
            "same": 0.8,
            "ari": pytest.approx(1 / 6),
            "kappa": pytest.approx(0.32 / 0.52),
        }
        assert agreement(state, category="cup") == []
        assert disagreements(state) == [{"cutout": 2, "group": 1, "verdicts": {"ann": 0, "bob": 1}}]
        assert disagreements(state, category="cup") == []
        assert progress(state, "ann")["car"] == {
            "cutouts": 6,
            "patterns": 2,
            "judged": 5,
            "mine": 5,
            "disputed": 1,
            "rejected": 0,
        }
    act(store, "eve", "confirm", group=1, cutouts=[2])
    with store.reading() as state:
        assert disagreements(state) == []
        assert len(agreement(state)) == 3


def test_kappa_is_not_defined_where_all_is_one_group(store):
    for who in ("ann", "bob"):
        act(store, who, "confirm", group=2)
    with store.reading() as state:
        (pair,) = agreement(state)
    assert (pair["kappa"], pair["same"], pair["ari"]) == (None, 1.0, 1.0)


def test_export_round_trip(store, tmp_path):
    act(store, "ann", "name", group=0, name="left side")
    act(store, "ann", "attributes", group=0, attributes={"yaw": "left"})
    act(store, "ann", "attributes", group=1, attributes={"yaw": "right"})
    act(store, "ann", "compatible", groups=[0, 1])
    act(store, "ann", "confirm", group=0)
    act(store, "bob", "move", cutouts=[1], to=1)
    act(store, "bob", "reject", cutouts=[2])
    act(store, "eve", "confirm", group=1, cutouts=[1])
    path = tmp_path / "export.json"
    write_export(path, store)
    found = read_export(path)
    assert (found.cutouts, found.last_action, found.annotators) == ("set-1", 8, ("ann", "bob", "eve"))
    assert found.attributes == {"car": {"yaw": ("left", "right")}}
    assert found.also_compatible == ((0, 1),)
    first, second, cups = found.patterns
    assert (first.id, first.category, first.name, first.attributes) == (0, "car", "left side", {"yaw": "left"})
    assert [(m.cutout_id, m.verdicts, m.is_verified) for m in first.members] == [("é0/x", {"ann": 0}, True)]
    assert [(m.cutout_id, m.verdicts, m.is_verified) for m in second.members] == [
        ("é1/x", {"ann": 0, "bob": 1, "eve": 1}, True),
        ("é3/x", {}, False),
        ("é4/x", {}, False),
    ]
    assert cups.category == "cup"
    (rejected,) = found.rejected
    assert (rejected.cutout_id, rejected.category) == ("é2/x", "car")
    assert rejected.verdicts == {"ann": 0, "bob": "rejected"}
    assert not rejected.is_verified  # in dispute
    assert [m.cutout_id for m in found.outliers] == ["é7/x"]
    assert sum(len(p.members) for p in found.patterns) + len(found.rejected) + len(found.outliers) == 8
    assert not list(tmp_path.glob(".*.partial-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(format_version=7), "format_version is 7"),
        (lambda raw: raw.pop("patterns"), "KeyError: 'patterns'"),
        (lambda raw: raw["patterns"].append(raw["patterns"][0]), "twice"),
        (lambda raw: raw["also_compatible"].append([0, 99]), r"\[0, 99\], expected patterns of this file"),
        (lambda raw: raw["patterns"][0].update(members=3), "TypeError"),
    ],
)
def test_exports_that_contradict_themselves_are_refused(store, tmp_path, change, message):
    path = tmp_path / "export.json"
    write_export(path, store)
    raw = json.loads(path.read_text("utf-8"))
    change(raw)
    path.write_text(json.dumps(raw), "utf-8")
    with pytest.raises(InputError, match=message):
        read_export(path)


def test_unreadable_exports_are_refused(tmp_path):
    for text in (b"", b"[]", b"\xff", b"[" * 100_000):
        (tmp_path / "export.json").write_bytes(text)
        with pytest.raises(InputError):
            read_export(tmp_path / "export.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_export(tmp_path / "none.json")
