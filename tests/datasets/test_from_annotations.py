"""Annotated photographs become a data set in one command: cut-outs, patterns from attributes, splits, records."""

import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from PIL import Image

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.filters import config_with
from fos_jax.data.splits import load_split
from fos_jax.datasets.building import validate
from fos_jax.datasets.fos_patterns.annotated import plan_annotated, read_annotated, write_annotated
from fos_jax.datasets.fos_patterns.benchmark import SIZES, plan_benchmark
from fos_jax.datasets.fos_patterns.from_annotations import annotate, build_from_annotations
from fos_jax.datasets.fos_patterns.layout import plan, read_inputs
from fos_jax.errors import InputError
from fos_jax.patterns.annotations.grouping import propose_by_attributes
from fos_jax.patterns.annotations.keypoints import PERSON
from fos_jax.verification.export import read_export, write_export
from fos_jax.verification.store import Store

FILTERS = {"blurred.min_sharpness": 0.0, "exposure.min_contrast": 0.0, "near_duplicate.max_distance_bits": 1}
SPLITS = ("train", "validation", "test")
FACINGS = ("front", "left", "right")


def _keypoints(facing, x, y):
    """A person of sticks in a rectangle of 40 x 90 px at (x, y)."""
    across, ahead = {"front": (14, 0), "left": (0, -1), "right": (0, 1)}[facing]
    points = {"nose": (20 + 8 * ahead, 8)}
    for part, height in {"ear": 8, "shoulder": 20, "hip": 50, "knee": 70}.items():
        points |= {f"{s}_{part}": (20 + k * across, height) for s, k in (("left", 1), ("right", -1))}
    return [
        v for name in PERSON for v in ((points[name][0] + x, points[name][1] + y, 2) if name in points else (0, 0, 0))
    ]


def _write(root, *, photographs=36, change=None, splits=()):
    """Photographs with a person each, facing one of three ways, and a car; each fourth person has no mask."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    raw = {
        "licenses": [{"id": 1, "name": "CC BY"}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(PERSON)}, {"id": 2, "name": "car"}],
        "images": [],
        "annotations": [],
    }
    for number in range(photographs):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(root / "images" / f"{number:03d}.png")
        image = {"id": number, "file_name": f"{number:03d}.png", "width": 160, "height": 120, "license": 1}
        if splits:
            image["split"] = splits[number % len(splits)]
        raw["images"].append(image)
        x, y = 10 + number % 7, 12
        person = {"bbox": [x, y, 40, 90], "keypoints": _keypoints(FACINGS[number % 3], x, y)}
        if number % 4 != 3:
            person["segmentation"] = [[x, y, x + 40, y, x + 40, y + 90, x, y + 90]]
        left = 100 if number % 2 else 80  # every other car is cut off at the right
        car = {"bbox": [left, 40, 60, 50], "segmentation": [[left, 40, left + 60, 40, left + 60, 90, left, 90]]}
        for category, entry in enumerate((person, car), 1):
            fields = {"id": 2 * number + category, "image_id": number, "category_id": category, "iscrowd": 0}
            raw["annotations"].append(fields | entry)
    if change is not None:
        change(raw)
    path = root / "instances.json"
    path.write_text(json.dumps(raw))
    return {"kind": "coco", "annotations": str(path), "images": str(root / "images"), "more_annotations": []}


def _prepare(source, folder, **options):
    annotated = annotate(source, folder, config=config_with(FILTERS), progress=False, **{"min_members": 4, **options})
    write_annotated(folder / "annotated.json", annotated)
    return annotated


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder in which the one command ran, and what it printed."""
    root = tmp_path_factory.mktemp("built")
    source = _write(root / "source")
    command = [sys.executable, "-m", "fos_jax.launch.dataset_build", "--from=coco"]
    command += [f"--annotations={source['annotations']}", f"--images={source['images']}", f"--data_dir={root / 'data'}"]
    command += ["--attributes=truncation,person_facing", "--min_members=4", f"--filters={json.dumps(FILTERS)}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root, source, done.stdout


def _load(data_dir, split, size="tight"):
    return load_split(
        data_dir, dataset="fos_patterns", size=size, split=split, foreground_size=16, query_size=24, progress=False
    )


def test_one_command_makes_a_data_set(built):
    root, _, printed = built
    paths = [line for line in printed.splitlines() if line.endswith("/1.0.0")]  # TFDS prints, too
    assert [path.rsplit("/", 2)[1] for path in paths] == ["tight_foregrounds", "tight_queries"]
    ids, photographs = [], {}
    for split in SPLITS:
        foregrounds, queries, table = _load(root / "data", split)
        assert table.categories == ("car", "person")
        assert [pattern.description for pattern in table.patterns] == [
            "car, whole",
            "car, cut off at the right",
            "person, whole, facing the viewer",
            "person, whole, facing right",
            "person, whole, facing left",
        ]
        assert table.mirror.tolist() == [0, -1, 2, 4, 3]
        assert table.attributes == {
            "car": {"truncation": ("none", "right")},
            "person": {"person_facing": ("front", "right", "left")},
        }
        for i, name in enumerate(queries.ids.tolist()):
            stem, number = name.split("/")
            photographs.setdefault(stem, set()).add(split)
            category = "car" if int(number) % 2 == 0 else "person"
            assert table.categories[queries.category[i]] == category
            (pattern,) = np.flatnonzero(queries.is_compatible[i])
            if category == "person":
                assert table.patterns[pattern].attributes["person_facing"] == FACINGS[int(stem) % 3]
            else:
                assert table.patterns[pattern].attributes["truncation"] == ("right" if int(stem) % 2 else "none")
            has_mask = category == "car" or int(stem) % 4 != 3
            own = queries.foreground_index[i]
            assert (own >= 0) == has_mask
            if has_mask:
                assert foregrounds.ids[own] == name
                assert foregrounds.pattern[own] == pattern
        for pattern in table.patterns:
            assert pattern.counts[split] == int((foregrounds.pattern == pattern.id).sum())
        ids += queries.ids.tolist()
    assert len(ids) == len(set(ids)) == 72
    assert all(len(splits) == 1 for splits in photographs.values())


def test_the_card_tells_counts_and_what_is_left_out(built):
    root = built[0]
    folder = root / "data" / "fos_patterns" / "tight_queries" / "1.0.0"
    card = json.loads((folder / "data_card.json").read_text())
    assert card["categories"]["person"]["patterns"] == 3
    assert sum(card["categories"]["person"]["foregrounds"].values()) == 27
    assert sum(card["categories"]["person"]["queries"].values()) == 36
    assert card["known"] == {
        "car": {"cut-outs": 36, "truncation": 36},
        "person": {"cut-outs": 27, "truncation": 27, "person_facing": 27},
    }
    assert card["licences"] == {"CC BY": 72}
    assert sum(row["foregrounds"]["test"] for row in card["patterns"]) == len(_load(root / "data", "test")[0].ids)
    text = (folder / "DATA_CARD.md").read_text()
    assert "No person checked the patterns" in text
    assert "4: person, whole, facing left | 3 |" in text


def test_what_is_there_is_left_alone_and_other_annotations_are_refused(built):
    root, source, _ = built
    options = {"data_dir": root / "data", "min_members": 4, "config": config_with(FILTERS), "progress": False}
    attributes = ["truncation", "person_facing"]
    before = sorted((root / "data").rglob("*.array_record*"))
    stamps = [path.stat().st_mtime_ns for path in before]
    assert len(build_from_annotations(source, attributes=attributes, **options)) == 2
    assert [path.stat().st_mtime_ns for path in before] == stamps
    with pytest.raises(InputError, match="holds a data set from other annotations, expected another data_dir"):
        build_from_annotations(
            source, attributes=attributes, manual_dir=root / "other", **{**options, "min_members": 5}
        )
    assert validate("fos_patterns", "tight", str(root / "data" / "fos_patterns_files")) == []


def test_stated_splits_are_kept_and_missing_ones_drawn_from_train(tmp_path):
    source = _write(tmp_path / "source", splits=("train", "train", "train", "val"))
    _prepare(source, tmp_path / "files")
    cutouts, annotated, _ = read_inputs(tmp_path / "files")
    benchmark = plan_annotated(cutouts, annotated, SIZES["tight"])
    for entry in benchmark.entries:
        is_validation = int(entry.source_id) % 4 == 3
        assert (entry.split == "validation") == is_validation
    assert {entry.split for entry in benchmark.entries} == set(SPLITS)
    again = plan_annotated(cutouts, annotated, SIZES["tight"])
    assert again.entries == benchmark.entries


def test_copies_that_the_source_divides_are_left_out_of_train(tmp_path):
    source = _write(tmp_path / "source", splits=SPLITS)
    images = tmp_path / "source" / "images"
    (images / "003.png").write_bytes((images / "002.png").read_bytes())  # 2 is in test, 3 in train and has no mask
    _prepare(source, tmp_path / "files")
    cutouts, annotated, _ = read_inputs(tmp_path / "files")
    benchmark = plan_annotated(cutouts, annotated, SIZES["tight"])
    assert {e.split for e in benchmark.entries if e.source_id == "2"} == {"test"}
    assert not [e for e in benchmark.entries if e.source_id == "3"]
    assert benchmark.left_out["looks like a photograph of another split"] >= 1


def test_defaults_take_what_is_known(tmp_path):
    annotated = _prepare(_write(tmp_path / "source"), tmp_path / "files")
    assert annotated.attributes == ("truncation", "person_facing")
    assert read_annotated(tmp_path / "files" / "annotated.json") == annotated


def test_a_folder_of_animal_pose(tmp_path):
    folder = tmp_path / "animals"
    _write(folder)
    raw = json.loads((folder / "instances.json").read_text())
    masks = {**raw, "annotations": [a for a in raw["annotations"] if "segmentation" in a]}
    (folder / "instances.json").write_text(json.dumps(masks))
    for annotation in raw["annotations"]:
        annotation.pop("segmentation", None)
    (folder / "keypoints.json").write_text(json.dumps(raw))
    annotated = _prepare({"kind": "animal_pose", "folder": str(folder)}, tmp_path / "files")
    assert len(annotated.queries) == 9
    assert len(annotated.members) == 63


def _write_voc(root, *, photographs=12):
    """A VOC folder with one car in each photograph, facing left or right, its masks and PASCAL3D+'s viewpoints."""
    for folder in ("Annotations", "JPEGImages", "SegmentationObject", "views/car_pascal"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(photographs):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((160, 120), Image.Resampling.BICUBIC).save(root / "JPEGImages" / f"{number:03d}.jpg")
        mask = np.zeros((120, 160), np.uint8)
        mask[30:80, 40:110] = 1
        Image.fromarray(mask).save(root / "SegmentationObject" / f"{number:03d}.png")
        box = "<bndbox><xmin>41</xmin><ymin>31</ymin><xmax>110</xmax><ymax>80</ymax></bndbox>"
        pose = ("Left", "Right")[number % 2]
        (root / "Annotations" / f"{number:03d}.xml").write_text(
            f"<annotation><filename>{number:03d}.jpg</filename><size><width>160</width><height>120</height></size>"
            f"<object><name>car</name><pose>{pose}</pose><truncated>0</truncated>{box}</object>"
            "</annotation>"
        )
        view = {"azimuth": (100.0, 265.0)[number % 2], "elevation": 5.0 + 25 * (number % 4 > 1), "distance": 3.0}
        entry = {"class": "car", "bbox": np.array([41.0, 31, 110, 80]), "viewpoint": view}
        path = root / "views" / "car_pascal" / f"{number:03d}.mat"
        scipy.io.savemat(path, {"record": {"filename": f"{number:03d}.jpg", "objects": entry}})
    return {"kind": "voc", "folder": str(root), "viewpoints": str(root / "views")}


def test_a_voc_folder_with_viewpoints(tmp_path):
    source = _write_voc(tmp_path / "voc")
    annotated = _prepare(source, tmp_path / "files", min_members=3, attributes=["voc_pose", "azimuth", "elevation"])
    assert [pattern.description for pattern in annotated.patterns] == [
        f"car, facing {way}, facing {way}, seen from {height}"
        for way in ("right", "left")
        for height in ("low", "above")
    ]
    assert [pattern.mirror for pattern in annotated.patterns] == [2, 3, 0, 1]
    assert sorted(annotated.members.values()) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_verified_patterns_get_their_mirrored_partners(built, tmp_path):
    """What a person confirmed of proposals from annotations makes a data set as ever, now with mirrors."""
    cutouts = CutoutSet(built[0] / "data" / "fos_patterns_files" / "cutouts")
    store = Store(
        tmp_path / "verified.sqlite",
        propose_by_attributes(cutouts, ["truncation", "person_facing"], min_members=4, progress=False),
    )
    with store.reading() as state:
        revisions, groups = dict(state.revisions), [g for g in state.standing() if state.groups[g].kind == "pattern"]
    for group in groups:
        store.act("a", "confirm", {"group": group}, {group: revisions[group]})
    write_export(tmp_path / "verified.json", store)
    benchmark = plan_benchmark(cutouts, read_export(tmp_path / "verified.json"), SIZES["tight"])
    assert benchmark.table.mirror.tolist() == [0, -1, 2, 4, 3]
    assert benchmark.table.patterns[4].attributes == {"person_facing": "left"}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, {"attributes": ["colour"]}, "attributes: got colour, expected some of"),
        (None, {"attributes": ["voc_pose"]}, "voc_pose is known for fewer than 4 cut-outs"),
        (None, {"min_members": 100}, "no pattern has 100 cut-outs or more"),
        (lambda r: r["annotations"][0].update(keypoints=[500, 5, 2] * 17), {}, "nose lies at .* inside the photograph"),
        (lambda r: r["images"][1].update(width=150), {}, "160 x 120 px, but annotated as 150 x 120 px"),
        (lambda r: r["images"][3].update(file_name="no.png"), {"categories": ["person"]}, r"no\.png: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_patterns(tmp_path, change, options, message):
    source = _write(tmp_path / "source", change=change) | {"categories": options.pop("categories", None)}
    with pytest.raises(InputError, match=message) as caught:
        _prepare(source, tmp_path / "files", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "files" / "annotated.json").exists()


def test_wrong_keypoints_are_found_before_anything_is_cut_and_can_be_skipped(tmp_path):
    def change(raw):
        raw["annotations"][0]["keypoints"] = [500, 5, 2] * 17  # of photograph 0
        raw["annotations"][6]["keypoints"] = [500, 5, 2] * 17  # of photograph 3, without a mask

    source = _write(tmp_path / "source", change=change)
    with pytest.raises(InputError, match=r"annotations\[0\].keypoints"):
        _prepare(source, tmp_path / "files")
    assert not (tmp_path / "files").exists()
    annotated = _prepare({**source, "skip_defects": True}, tmp_path / "files")
    assert len(annotated.messages) == 2
    assert "000/1" not in annotated.members
    assert annotated.left_out == {"cut-out: truncation unknown": 1, "without a mask: defective attributes": 1}
    assert len(annotated.queries) == 8


def test_what_the_source_leaves_out_is_told(tmp_path):
    def change(raw):
        raw["annotations"][0]["bbox"] = [500, 5, 10, 10]

    source = _write(tmp_path / "source", change=change) | {"skip_defects": True, "categories": ["person"]}
    annotated = _prepare(source, tmp_path / "files")
    assert annotated.left_out == {"other category": 36, "annotations: defective annotation": 1}
    assert "annotations[0].bbox" in annotated.messages[0]


def test_an_unknown_split_is_named(tmp_path):
    _prepare(_write(tmp_path / "source", splits=("train", "extra")), tmp_path / "files")
    cutouts, annotated, _ = read_inputs(tmp_path / "files")
    with pytest.raises(InputError, match="split of photograph 1: got 'extra', expected train, validation, test"):
        plan_annotated(cutouts, annotated, SIZES["tight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format_version=9), "format_version is not 1"),
        (lambda r: r.pop("members"), "not patterns made from annotations"),
        (lambda r: r["members"].update({"000/1": 77}), "a pattern is not among the 5"),
        (lambda r: r["queries"][0].pop("box_xyxy_px"), "not patterns made from annotations"),
        (lambda r: r.update(cutouts="other"), "the patterns are of other"),
        (lambda r: r["members"].update({"nobody/1": 0}), "has no cut-out 'nobody/1'"),
    ],
)
def test_damaged_patterns_are_one_line(built, tmp_path, change, message):
    files = built[0] / "data" / "fos_patterns_files"
    raw = json.loads((files / "annotated.json").read_text())
    change(raw)
    (tmp_path / "annotated.json").write_text(json.dumps(raw))
    (tmp_path / "cutouts").symlink_to(files / "cutouts")
    with pytest.raises(InputError, match=message):
        plan(tmp_path, SIZES["tight"])


def test_patterns_of_two_kinds_are_refused(tmp_path):
    for name in ("annotated.json", "verified.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=r"holds verified\.json and annotated\.json"):
        read_inputs(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from=coco", "--images=x"], "--annotations: missing, --from=coco needs it"),
        (["--from=voc"], "--folder: missing, --from=voc needs it"),
        (["--from=coco", "--annotations=a.json", "--images=x", "--filters=}"], "--filters: not JSON"),
    ],
)
def test_the_program_names_missing_flags(tmp_path, flags, message):
    command = [sys.executable, "-m", "fos_jax.launch.dataset_build", f"--data_dir={tmp_path}", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
