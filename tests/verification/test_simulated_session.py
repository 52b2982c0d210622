"""Simulated annotators use the page's actions and reach what they know."""

import pytest

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.errors import InputError
from fos_jax.experiments.simulated_session import review, true_attributes, verify_all
from fos_jax.patterns.proposals import read_proposals
from fos_jax.verification.state import agreement, disagreements
from fos_jax.verification.store import Store


@pytest.fixture
def store(world, tmp_path):
    return Store(tmp_path / "store.sqlite", read_proposals(world.proposals))


def groups_of(store):
    with store.reading() as state:
        return {
            group: (state.groups[group].category, dict(state.groups[group].attributes), sorted(state.members[group]))
            for group in state.standing()
            if state.groups[group].kind == "pattern" and state.members[group]
        }


def test_one_annotator_sorts_everything(world, store):
    truth = [{"kind": value} for value in world.truth]
    actions = verify_all(store, truth, "one")
    found = groups_of(store)
    assert len(found) == len({(c, t) for c, t in zip(store.categories, world.truth, strict=True)})
    for category, attributes, members in found.values():
        assert {store.categories[m] for m in members} == {category}
        assert {world.truth[m] for m in members} == {attributes["kind"]}
    assert sum(len(members) for _, _, members in found.values()) == len(world.truth)
    assert actions == len(store.history(limit=1000))
    assert store.replayed().to_json() == _state(store)


def test_a_second_one_errs_and_is_seen_to(world, store):
    verify_all(store, [{"kind": value} for value in world.truth], "one")
    counts = review(store, "two", share=1.0, mistakes=0.3, seed=1)
    assert counts["moved"] > 0
    with store.reading() as state:
        [pair] = agreement(state)
        assert pair["same"] == counts["confirmed"] / (counts["confirmed"] + counts["moved"])
        assert len(disagreements(state)) == counts["moved"]


def test_an_attribute_that_is_not_annotated_is_named(world):
    with pytest.raises(InputError, match="'colour' is not annotated"):
        true_attributes(CutoutSet(world.cutouts), ["colour"])


def _state(store):
    with store.reading() as state:
        return state.to_json()
