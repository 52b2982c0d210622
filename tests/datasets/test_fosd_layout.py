"""Each deviation from FOSD's layout is named with its file and key; spellings and suffixes that occur are not."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from fosd_miniature import CATEGORIES, FRAME, write_miniature
from PIL import Image

from fos_jax.datasets.fosd import layout
from fos_jax.datasets.fosd.annotations import read_segmentations
from fos_jax.datasets.fosd.benchmark import VALIDATION_PERCENT, is_validation, read_benchmark
from fos_jax.datasets.fosd.checks import identifier, name_defect
from fos_jax.errors import InputError

TRAIN = "train/labels/train_sfosd.json"
SET1, SET2 = "test/labels/test_set1.json", "test/labels/test_set2.json"
CSV = "train/labels/segmentations.csv"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_miniature(tmp_path_factory.mktemp("fosd") / "data", train=10)


@pytest.fixture
def mini(pristine, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(pristine.root, tmp_path / "data")
    return dataclasses.replace(pristine, root=tmp_path / "data")


def errors(root, **kwargs):
    return [p for p in layout.validate(root, **kwargs) if p.is_error]


def the_error(root, **kwargs):
    (problem,) = errors(root, **kwargs)
    return problem


def edit(root, file, change):
    content = json.loads((root / file).read_text())
    change(content)
    (root / file).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"readme_spelling": False},
        {"suffix": ".jpg"},
        {"suffix": ".jpg", "names_suffix": ".png", "readme_spelling": False},
        {"suffix": ".png", "names_suffix": ".jpg"},
        {"leading_column": False},
        {"mask_scale": 3},
    ],
)
def test_every_spelling_is_accepted(tmp_path, options):
    mini = write_miniature(tmp_path / "data", train=10, **options)
    problems = layout.validate(mini.root)
    assert {str(p).split(": got")[1] for p in problems} == {" 3 backgrounds, expected 20"}
    assert not any(p.is_error for p in problems)
    assert not (mini.root / "UNPICKLED").exists()


def test_validation_writes_nothing_and_opens_no_pickle(mini):
    before = sorted(p.relative_to(mini.root) for p in mini.root.rglob("*"))
    layout.validate(mini.root)
    assert sorted(p.relative_to(mini.root) for p in mini.root.rglob("*")) == before


def test_twenty_backgrounds_leave_no_note(tmp_path):
    mini = write_miniature(tmp_path / "data", train=10, test=20)
    assert layout.validate(mini.root, check_pixels=False) == []


def test_all_problems_come_in_one_pass(mini):
    """One of each kind at once; each is named, none hides another."""
    boat, dog = (mini.train[c] for c in CATEGORIES)

    def damage(content):
        content[boat[0]]["bbox"] = [0.1, float("nan"), 0.5, 0.5]
        content[boat[1]]["class"] = "Zeppelin"
        content[boat[2]]["similars"].append("../../../etc/passwd")
        content[boat[3]]["dissimilars"] = "none"
        content[dog[0]]["bbox"] = [0.6, 0.1, 0.5, 0.5]
        content["../outside.png"] = content[dog[1]]

    edit(mini.root, TRAIN, damage)
    (mini.root / "train/fg" / dog[2]).unlink()
    (mini.root / "train/bg" / dog[3]).write_bytes(b"not an image")
    found = {(p.file, p.key): f"got {p.got}, expected {p.expected}" for p in errors(mini.root, sizes=["sfosd"])}
    assert found[TRAIN, f"['{boat[0]}'].bbox[1]"] == "got nan, expected a fraction in 0..1"
    assert found[TRAIN, f"['{boat[1]}'].class"] == "got 'Zeppelin', expected a category of category.json"
    assert "plain file name" in found[TRAIN, f"['{boat[2]}'].similars[3]"]
    assert found[TRAIN, f"['{boat[3]}'].dissimilars"] == "got 'none', expected a list"
    assert "x1 < x2" in found[TRAIN, f"['{dog[0]}'].bbox"]
    assert "plain file name" in found[TRAIN, "['../outside.png']"]
    assert "no such file" in found[f"train/fg/{identifier(dog[2])}", ""]
    assert "damaged" in found[f"train/bg/{dog[3]}", "pixels"]
    assert len(found) == 8


@pytest.mark.parametrize(
    ("file", "change", "key", "got"),
    [
        (SET1, lambda c: c["Boat"]["bg"][0].append(1), "['Boat'].bg[0]", ""),
        (SET1, lambda c: c["Boat"]["bg"].append(c["Boat"]["bg"][0]), "['Boat'].bg[3][0]", "again"),
        (SET1, lambda c: c["Boat"].update(fg=c["Boat"]["fg"][1:]), "['Boat'].bg[0][0]", ""),
        (SET1, lambda c: c["Dog"].update(fg=c["Dog"]["fg"] + c["Boat"]["fg"][:1]), "['Dog'].fg", "also in 'Boat'"),
        (SET1, lambda c: c.update(Zeppelin={}), "['Zeppelin']", "unknown category"),
        (SET2, lambda c: c["Dog"].update({"web photo 1.png": [[0, 0, 1, 1]]}), "['Dog']['web photo 1.png']", ""),
        (SET2, lambda c: c["Dog"]["web photo 1.png"][-1].popitem(), "['Dog']['web photo 1.png'][-1]", "1 fewer"),
        (
            SET2,
            lambda c: c["Dog"]["web photo 1.png"].__setitem__(0, [0, 0, "1", 1]),
            "['web photo 1.png'][0][2]",
            "'1'",
        ),
        (SET2, lambda c: c["Dog"]["web photo 1.png"].__setitem__(0, [0, 0, True, 1]), "[0][2]", "True"),
        (SET2, lambda c: c["Dog"]["web photo 1.png"].__setitem__(0, [0, 0, 10**400, 1]), "[0][2]", "digits"),
    ],
)
def test_wrong_test_annotations_are_named(mini, file, change, key, got):
    edit(mini.root, file, change)
    problem = the_error(mini.root, check_pixels=False)
    assert problem.file == file
    assert problem.key.endswith(key), problem
    assert got in problem.got
    assert "\n" not in str(problem)


def test_labels_must_be_zero_or_one_with_one_that_fits(mini):
    def damage(content):
        labels = content["Boat"]["web photo 0.png"][-1]
        labels.update(dict.fromkeys(labels, 0))
        first = next(iter(content["Dog"]["web photo 0.png"][-1]))
        content["Dog"]["web photo 0.png"][-1][first] = 2

    edit(mini.root, SET2, damage)
    found = [str(p) for p in errors(mini.root, check_pixels=False)]
    assert any("['Boat']['web photo 0.png'][-1]: got no label 1" in p for p in found)
    assert any("got 2, expected 0 or 1" in p for p in found)


def test_what_lies_between_box_and_labels_is_not_read(mini):
    edit(mini.root, SET2, lambda c: c["Dog"]["web photo 0.png"].insert(1, [{"anything": None}]))
    assert not errors(mini.root)


def test_duplicate_keys_and_names(mini):
    text = (mini.root / TRAIN).read_text()
    name = mini.train["Boat"][0]
    (mini.root / TRAIN).write_text(text.replace("{", f'{{"{name}": {{}}, ', 1))
    problem = the_error(mini.root, check_pixels=False)
    assert (problem.file, problem.key, problem.got) == (TRAIN, f"'{name}'", "the key twice in one object")
    rows = (mini.root / CSV).read_text().splitlines()
    (mini.root / TRAIN).write_text(text)
    (mini.root / CSV).write_text("\n".join([*rows, rows[1]]))
    problem = the_error(mini.root, check_pixels=False)
    assert (problem.file, problem.key) == (CSV, f"line {len(rows) + 1}, MaskPath")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1, 2", b"[" * 100_000, b"null", b"\xef\xbb\xbf{}"])
@pytest.mark.parametrize("file", [TRAIN, SET1, SET2, "train/labels/category.json"])
def test_broken_json_is_named(mini, file, data):
    (mini.root / file).write_bytes(data)
    found = errors(mini.root, check_pixels=False)
    if file in (SET1, SET2) and data.endswith(b"{}"):
        assert not found  # no category of the test set is a note, not an error
    else:
        assert found
        assert file in {p.file for p in found}


def test_rows_of_the_csv(mini):
    rows = (mini.root / CSV).read_bytes().splitlines()
    rows[1] = rows[1].replace(b",0.", b",nan,0.", 1)
    rows[2] = b"\xff" + rows[2]
    rows[3] = rows[3].replace(b",", b',"', 1)
    rows[4] = b",".join(rows[4].split(b",")[:6])
    rows[5] = rows[5].replace(rows[5].split(b",")[1], b"../../x.png")
    rows[6] = rows[6].replace(b",", b"," * 2_000_000, 1)
    (mini.root / CSV).write_bytes(b"\n".join(rows))
    found = {p.key: str(p) for p in errors(mini.root, check_pixels=False) if p.file == CSV and "line" in p.key}
    assert "expected a number in 0..1" in found["line 2, BoxXMin"]
    assert "expected UTF-8" in found["line 3"]
    assert "broken CSV" in found["line 4"]
    assert "also BoxXMax" in found["line 5"]
    assert "plain file name" in found["line 6, MaskPath"]
    assert "a longer line" in found["line 7"]
    without = [p.got for p in errors(mini.root, check_pixels=False) if p.key == "MaskPath"]
    assert len(without) == 6  # every broken row's cut-out is missing, by name


def test_a_quote_costs_one_row_only(mini):
    rows = (mini.root / CSV).read_text().splitlines()
    rows[3] = '"' + rows[3]
    (mini.root / CSV).write_text("\n".join(rows))
    assert [p.key for p in errors(mini.root, check_pixels=False)] == ["MaskPath", "line 4"]


def test_missing_columns_are_named(mini):
    (mini.root / CSV).write_text((mini.root / CSV).read_text().replace("BoxYMin", "Bottom", 1))
    assert any("BoxYMin among them" in str(p) for p in errors(mini.root, check_pixels=False))


def test_the_csv_is_read_row_by_row(mini, monkeypatch):
    """A reader that stops after two rows has consumed two rows of the file, not all."""
    rows = read_segmentations(mini.root / CSV, CSV, pytest.fail)
    first, second = next(rows), next(rows)
    (mini.root / CSV).unlink()  # the open file goes on
    assert (first.line, second.line) == (2, 3)
    assert first.object_id == identifier(mini.train["Boat"][0])
    assert len(list(rows)) == 18


def mask_of(mini, name):
    return mini.root / "train/labels/masks" / name[0].upper() / f"{identifier(name)}.png"


def test_masks(mini):
    a, b, c, d, e = mini.train["Boat"][:5]
    width, height = FRAME
    Image.new("1", (height, width), 1).save(mask_of(mini, a))  # proportions turned
    Image.new("1", (width, height), 0).save(mask_of(mini, b))  # empty
    Image.new("RGB", (width, height)).save(mask_of(mini, c))
    mask_of(mini, d).unlink()
    with Image.open(mask_of(mini, e)) as one_bit:
        bytes_0_and_1 = np.array(one_bit).astype(np.uint8)
    Image.fromarray(bytes_0_and_1).save(mask_of(mini, e))  # fine
    found = {os.path.basename(p.file): p for p in errors(mini.root)}
    assert f"{height} x {width} px" in found[f"{identifier(a)}.png"].got
    assert found[f"{identifier(b)}.png"].got == "an empty mask"
    assert found[f"{identifier(c)}.png"].expected == "a mask of one channel"
    assert found[f"{identifier(d)}.png"].got == "no such file"
    assert len(found) == 4


def test_a_foreground_of_another_size_than_its_box(mini):
    name = mini.train["Dog"][0]
    with Image.open(mini.root / "train/fg" / name) as image:
        image.resize((5, 6)).save(mini.root / "train/fg" / name)
    problem = the_error(mini.root)
    assert (problem.file, problem.key, problem.got) == (f"train/fg/{name}", "size", "5 x 6 px")


def test_links_that_leave_their_folder_are_no_files(mini, tmp_path):
    name = mini.train["Dog"][0]
    secret = tmp_path / "secret.png"
    path = mini.root / "train/fg" / name
    path.rename(secret)
    path.symlink_to(secret)
    assert the_error(mini.root).got == "no such file"


def test_shared_photographs_are_left_out_of_train_with_a_note(mini):
    """A test object from a train photograph: the train query goes, and labels that point to it."""
    shared, other = mini.train["Boat"][:2]
    new = identifier(shared) + "b"  # the same ImageID, another object
    for kind in ("fg", "bg"):
        target = mini.root / "test" / ("bg_set1" if kind == "bg" else "fg") / f"{new}.png"
        shutil.copy(mini.root / "train" / kind / shared, target)
    target = mini.root / "test/labels/masks" / new[0].upper() / f"{new}.png"
    target.parent.mkdir(exist_ok=True)
    shutil.copy(mask_of(mini, shared), target)
    row = next(r for r in (mini.root / CSV).read_text().splitlines() if identifier(shared) in r)
    with open(mini.root / "test/labels/segmentations.csv", "a") as file:
        file.write(row.replace(identifier(shared), new) + "\n")
    edit(mini.root, SET1, lambda c: c["Boat"]["fg"].append(new + ".png"))
    (note,) = (p for p in layout.validate(mini.root, sizes=["sfosd"]) if "photograph is in the test" in p.got)
    assert not note.is_error
    assert note.got.startswith("1 backgrounds")
    benchmark = read_benchmark(mini.root, "sfosd", lambda p: None)
    assert identifier(shared) not in benchmark.foregrounds["train"]
    assert all(identifier(shared) not in q.relevant + q.irrelevant for q in benchmark.queries["train"])
    assert identifier(other) in benchmark.foregrounds["train"]


def test_wrong_directories(tmp_path):
    with pytest.raises(InputError, match=r"manual_dir: .* is not a directory"):
        layout.validate(tmp_path / "nowhere")
    with pytest.raises(InputError, match="unknown 'tfosd'"):
        layout.validate(tmp_path, sizes=["tfosd"])
    assert len(errors(tmp_path)) >= 4  # an empty folder: every file is named


def test_require_valid_counts_errors_and_lets_notes_pass(mini):
    layout.require_valid(layout.validate(mini.root), mini.root)
    (mini.root / SET1).write_text("{")
    with pytest.raises(InputError, match=r"1 problems .*test_set1.json: got broken JSON"):
        layout.require_valid(layout.validate(mini.root), mini.root)


@pytest.mark.parametrize(
    "name",
    ["", "..", "../a.png", "a/b.png", "a\\b.png", "/etc/passwd", ".hidden", "a\0.png", "a\n.png", "x" * 256, 3, None],
)
def test_names_that_are_no_plain_names(name):
    assert name_defect(name)


def test_names_that_are_plain():
    assert not name_defect("000a1f3e_m01g317_4c8b.png")
    assert not name_defect("Straße bei Nacht (2).jpg")
    assert [identifier(n) for n in ("a.png", "a.jpg", "a.JPG", "a.b", "a")] == ["a", "a", "a", "a.b", "a"]


def test_validation_is_a_fixed_twentieth():
    share = np.mean([is_validation(f"{i:016x}") for i in range(20_000)])
    assert abs(share * 100 - VALIDATION_PERCENT) < 0.5
    assert [i for i in range(60) if is_validation(f"{i:016x}")] == [i for i in range(60) if is_validation(f"{i:016x}")]
