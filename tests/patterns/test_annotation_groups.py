"""Patterns as combinations of attributes, their mirror images, and their way to the page where people check them."""

import subprocess
import sys

import numpy as np
import pytest

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.cutouts.records import Defects
from fos_jax.errors import InputError
from fos_jax.pattern_table import attribute_phrase
from fos_jax.patterns.annotations.grouping import group_by_attributes, mirrors, pattern_table, propose_by_attributes
from fos_jax.patterns.annotations.reading import ATTRIBUTES
from fos_jax.patterns.proposals import read_proposals, write_proposals
from fos_jax.verification.export import read_export, write_export
from fos_jax.verification.store import Store

DOG = {"animal_view": "left", "truncation": "none"}
ROWS = [
    ("dog", DOG),
    ("dog", DOG),
    ("dog", DOG | {"animal_view": "right"}),
    ("dog", DOG | {"animal_view": "right"}),
    ("dog", DOG | {"animal_view": "front", "truncation": "below"}),
    ("dog", {"truncation": "none"}),
    ("car", {"truncation": "left"}),
    ("car", {"truncation": "none"}),
    ("car", {"truncation": "none"}),
    ("owl", {"truncation": "none"}),
]
CATEGORIES, VALUES = [row[0] for row in ROWS], [row[1] for row in ROWS]
NAMES = ["truncation", "animal_view"]


def test_combinations_with_members_enough_become_patterns():
    found = group_by_attributes(CATEGORIES, VALUES, NAMES, min_members=2)
    assert [(p.category, dict(p.attributes), p.mirror) for p in found.patterns] == [
        ("car", {"truncation": "none"}, 0),
        ("dog", {"truncation": "none", "animal_view": "right"}, 2),
        ("dog", {"truncation": "none", "animal_view": "left"}, 1),
    ]
    assert found.pattern.tolist() == [2, 2, 1, 1, -1, -1, -1, 0, 0, -1]
    small = "pattern too small"
    assert found.reasons == ("", "", "", "", small, "animal_view unknown", small, "", "", "category too small")
    assert [p.description for p in found.patterns] == [
        "car, whole",
        "dog, whole, facing right",
        "dog, whole, facing left",
    ]


def test_objects_that_are_no_members_only_get_patterns():
    is_member = np.arange(len(ROWS)) != 0
    found = group_by_attributes(CATEGORIES, VALUES, NAMES, min_members=2, is_member=is_member)
    assert [p.attributes.get("animal_view") for p in found.patterns] == [None, "right"]
    assert found.patterns[1].mirror == -1  # its partner is too small
    found = group_by_attributes(CATEGORIES, VALUES, NAMES, min_members=1, is_member=is_member)
    assert found.pattern[0] == found.pattern[1] >= 0


def test_an_attribute_that_nobody_has_is_refused_where_it_was_asked_for():
    with pytest.raises(InputError, match="voc_pose is known for fewer than 2 cut-outs of each category"):
        group_by_attributes(CATEGORIES, VALUES, [*NAMES, "voc_pose"], min_members=2, needs_all=True)
    with pytest.raises(InputError, match="attributes: got none"):
        group_by_attributes(CATEGORIES, VALUES, [], min_members=2)


def test_the_table_has_attributes_that_differ():
    patterns = group_by_attributes(CATEGORIES, VALUES, NAMES, min_members=2).patterns
    table = pattern_table(patterns, {(1, "train"): 2}, ("train", "test"))
    assert table.attributes == {"car": {}, "dog": {"animal_view": ("right", "left")}}
    assert table.mirror.tolist() == [0, 2, 1]
    assert [dict(p.counts) for p in table.patterns][1] == {"train": 2, "test": 0}
    assert type(table).from_json(table.to_json()) == table


def test_mirrors_are_found_by_attributes_alone():
    rows = [{"animal_view": "left"}, {"animal_view": "right"}, {"animal_view": "front"}, {"colour": "red"}, {}]
    assert mirrors(["dog"] * 5, rows) == [1, 0, 2, -1, -1]
    assert mirrors(["dog", "cat"], rows[:2]) == [-1, -1]
    assert mirrors(["dog"] * 3, [rows[0], rows[1], rows[1]])[0] == -1  # two would fit
    assert mirrors(["dog"], [{"animal_view": "upwards"}]) == [-1]


def test_every_value_can_be_said():
    said = {attribute_phrase(name, value) for name, a in ATTRIBUTES.items() for value in a.values}
    assert not [phrase for phrase in said if ":" in phrase or "_" in phrase]


@pytest.fixture
def cutouts(coco_folder, tmp_path):
    """Cut-outs of six photographs; one object of two is annotated to face the image's left, a fifth of them nowhere."""

    def change(raw):
        for annotation in raw["annotations"]:
            annotation["elevation_deg"] = 10.0
            annotation["azimuth_deg"] = 90.0 if annotation["id"] % 2 else 270.0
            if annotation["id"] % 5 == 4:
                del annotation["elevation_deg"]

    path, images = coco_folder(photographs=6, objects=2, change=change)
    source = {"kind": "coco", "annotations": str(path), "images": str(images)}
    extract(tmp_path / "cutouts", source, config_with({"near_duplicate.max_distance_bits": -1}), progress=False)
    return CutoutSet(tmp_path / "cutouts")


def test_proposals_reach_the_page_with_their_attributes(cutouts, tmp_path):
    path = tmp_path / "proposals.parquet"
    write_proposals(path, propose_by_attributes(cutouts, ["azimuth", "truncation"], progress=False))
    proposals = read_proposals(path)
    assert proposals.cutouts == cutouts.fingerprint
    assert proposals.cutout_ids == tuple(cutouts.column("id"))
    is_unknown = np.array([int(name.split("/")[1]) % 5 == 4 for name in proposals.cutout_ids])
    np.testing.assert_array_equal(proposals.group < 0, is_unknown)
    np.testing.assert_array_equal(proposals.confidence, ~is_unknown)
    assert {row["azimuth"] for row in proposals.attributes.values()} == {"left", "right"}
    assert all(group["attributes"] == proposals.attributes[group["group"]] for group in proposals.groups())

    store = Store(tmp_path / "verified.sqlite", proposals)
    with store.reading() as state:
        for group, row in proposals.attributes.items():
            assert state.groups[group].attributes == row
        revisions = dict(state.revisions)
    store.act("a", "confirm", {"group": 0}, revisions)
    store.close()
    store = Store(tmp_path / "verified.sqlite")
    with store.reading() as state:
        assert state.groups[0].attributes == proposals.attributes[0] == store.replayed().groups[0].attributes
    write_export(tmp_path / "verified.json", store)
    verified = read_export(tmp_path / "verified.json")
    assert {p.id: dict(p.attributes) for p in verified.patterns} == proposals.attributes
    assert {p.id for p in verified.patterns if all(m.is_verified for m in p.members)} == {0}


def test_defects_are_raised_or_make_outliers(coco_folder, tmp_path):
    def change(raw):
        raw["annotations"][0]["azimuth_deg"] = "left"
        for annotation in raw["annotations"]:
            annotation["elevation_deg"] = 10.0

    path, images = coco_folder(photographs=3, objects=2, change=change)
    source = {"kind": "coco", "annotations": str(path), "images": str(images)}
    extract(tmp_path / "cutouts", source, config_with({"near_duplicate.max_distance_bits": -1}), progress=False)
    cutouts = CutoutSet(tmp_path / "cutouts")
    with pytest.raises(InputError, match=r"cut-out p0000/0.azimuth_deg: got 'left', expected a number of degrees"):
        propose_by_attributes(cutouts, ["azimuth"], progress=False)
    defects = Defects(skip=True)
    proposals = propose_by_attributes(cutouts, ["azimuth"], defects=defects, progress=False)
    assert [name for name, group in zip(proposals.cutout_ids, proposals.group, strict=True) if group < 0] == ["p0000/0"]
    assert defects.counts == {"defective attributes": 1}


def test_the_program_proposes_from_annotations(cutouts, tmp_path):
    command = [
        sys.executable,
        "-m",
        "fos_jax.launch.propose",
        f"--cutouts={cutouts.folder}",
        f"--output={tmp_path / 'p'}",
    ]
    done = subprocess.run([*command, "--attributes=azimuth"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "12 cut-outs, 2 groups, 2 outliers" in done.stdout
    assert (tmp_path / "p" / "groups.png").stat().st_size > 0
    assert read_proposals(tmp_path / "p" / "proposals.parquet").config["attributes"] == ["azimuth"]
    wrong = subprocess.run([*command, "--attributes=shape"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("error: attributes: got shape, expected some of truncation")
