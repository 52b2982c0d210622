"""Damaged files of any kind: problems are reported, nothing else is raised; what passes can be built."""

import json
import math
import shutil
import string
import struct
import zlib

import pytest
from fosd_miniature import write_miniature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fos_jax.datasets.fosd import layout
from fos_jax.datasets.fosd.benchmark import BENCHMARKS, PARTS, read_benchmark, split_benchmark

JSON_FILES = (
    "train/labels/category.json",
    "train/labels/train_sfosd.json",
    "train/labels/train_rfosd.json",
    "test/labels/test_set1.json",
    "test/labels/test_set2.json",
)
CSV_FILES = ("train/labels/segmentations.csv", "test/labels/segmentations.csv")

# Text that a hostile or careless file may hold, lone surrogates included.
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["../x.png", "/etc/passwd", "a\\..\\b", "\ud800", "\0", "", ".", "..", "x" * 300]),
    st.text(alphabet=string.printable, max_size=8),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        TEXTS,
        st.sampled_from([10**400, -1, 0, 1, 0.5, math.nan, math.inf]),
    ),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=8,
)

fuzz = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_miniature(tmp_path_factory.mktemp("fosd") / "data", train=10, test=2).root


def check(root, changed: bytes, file: str, *, check_pixels: bool = False) -> None:
    """The property, with one file replaced for the moment."""
    path = root / file
    original = path.read_bytes()
    path.write_bytes(changed)
    try:
        problems = layout.validate(root, check_pixels=check_pixels)
        for problem in problems:
            text = str(problem)
            assert "\n" not in text
            text.encode("utf-8")
            assert len(text) < 1500
        for name in BENCHMARKS:
            benchmark = read_benchmark(root, name, lambda problem: None)
            split_benchmark(benchmark)
            for part in PARTS:
                for foreground in benchmark.foregrounds[part].values():
                    for used in (foreground.image, foreground.mask):
                        assert used.resolve().is_relative_to(root.resolve())
                for query in benchmark.queries[part]:
                    assert query.background.resolve().is_relative_to(root.resolve())
                    assert set(query.relevant) | set(query.irrelevant) <= set(benchmark.foregrounds[part])
                    assert not set(query.relevant) & set(query.irrelevant)
                    assert all(map(math.isfinite, query.box_xyxy_norm))
                if check_pixels and not any(p.is_error for p in problems):
                    build_all(root, benchmark, part)
    finally:
        path.write_bytes(original)


def build_all(root, benchmark, part) -> None:
    for foreground in benchmark.foregrounds[part].values():
        rgba = layout.make_cutout(root, foreground)
        assert rgba[..., 3].any()
    for query in benchmark.queries[part]:
        width, height = layout.frame_size(query.background, "background")
        x0, y0, x1, y1 = layout.pixel_box(query.box_xyxy_norm, width, height, "background")
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert layout.query_bytes(query.background, "background")


def damaged(data, original: bytes) -> bytes:
    """Some bytes overwritten, some cut away, some repeated."""
    out = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(out) - 1, 0)))
        length = data.draw(st.integers(0, 40))
        kind = data.draw(st.sampled_from(["overwrite", "cut", "repeat", "truncate"]))
        if kind == "overwrite":
            out[at : at + length] = data.draw(st.binary(min_size=length, max_size=length))
        elif kind == "cut":
            del out[at : at + length]
        elif kind == "repeat":
            out[at:at] = out[at : at + length]
        else:
            del out[at:]
    return bytes(out)


def places(node, path=()):
    """Every position in a JSON value."""
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def replaced(node, path, value):
    if not path:
        return value
    key, *rest = path
    children = dict(node.items()) if isinstance(node, dict) else dict(enumerate(node))
    children[key] = replaced(children[key], rest, value)
    return children if isinstance(node, dict) else list(children.values())


FIELDS = ("bbox", "class", "similars", "dissimilars", "images", "bg", "fg")
OUTSIDE = "../../../outside.png"  # beside the manual directory, seen from any of its folders of images
HOSTILE = [OUTSIDE, "\ud800", "", None, True, math.nan, math.inf, 10**400, [], {}]


def one_of_each_shape(node):
    """A position for every kind of value in a JSON file: all names, all coordinates, ..."""
    shapes = {}
    for path in places(node):
        child = node
        for key in path:
            child = child[key]
        field = next((key for key in reversed(path) if key in FIELDS), None)
        shapes.setdefault((len(path), field, type(child)), path)
    return list(shapes.values())


@pytest.mark.parametrize("file", JSON_FILES)
def test_every_kind_of_value_replaced_by_every_hostile_one(root, file):
    (root.parent / "outside.png").write_bytes(next((root / "train/fg").iterdir()).read_bytes())
    node = json.loads((root / file).read_text())
    for path in one_of_each_shape(node):
        for value in HOSTILE:
            check(root, json.dumps(replaced(node, path, value)).encode(), file)
        if path and isinstance(path[-1], str):
            check(root, json.dumps(renamed(node, path, OUTSIDE)).encode(), file)


def renamed(node, path, name):
    """The same value under another key."""
    parent = node
    for key in path[:-1]:
        parent = parent[key]
    return replaced(node, path[:-1], {name if key == path[-1] else key: value for key, value in parent.items()})


@pytest.mark.parametrize("file", JSON_FILES)
@given(data=st.data())
@fuzz
def test_json_with_other_values(root, file, data):
    node = json.loads((root / file).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(sorted(places(node), key=str)))
        node = replaced(node, at, data.draw(VALUES))
    check(root, json.dumps(node).encode(), file)


@pytest.mark.parametrize("file", [*JSON_FILES, *CSV_FILES])
@given(data=st.data())
@fuzz
def test_damaged_bytes(root, file, data):
    check(root, damaged(data, (root / file).read_bytes()), file)


@pytest.mark.parametrize("file", CSV_FILES)
@given(data=st.data())
@fuzz
def test_csv_with_other_cells(root, file, data):
    rows = [line.split(",") for line in (root / file).read_text().splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        numbers = st.sampled_from(["nan", "-1", "inf", "1e999", "0", "1", "0.5", '"', "../x.png"])
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(TEXTS | numbers)
    text = "\n".join(",".join(row) for row in rows)
    check(root, text.encode("utf-8", "surrogatepass"), file)


@pytest.mark.parametrize("kind", ["masks", "fg", "bg", "bg_set2"])
@given(data=st.data())
@settings(fuzz, max_examples=30)
def test_damaged_images(root, kind, data):
    folder = {"masks": "train/labels/masks/A", "fg": "train/fg", "bg": "train/bg", "bg_set2": "test/bg_set2"}[kind]
    path = sorted((root / folder).iterdir())[0]
    check(root, damaged(data, path.read_bytes()), path.relative_to(root).as_posix(), check_pixels=True)


def test_an_image_bomb_is_refused_by_its_header(root, tmp_path):
    """A tiny PNG that claims 60,000 x 60,000 pixels is never decoded."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    copy = tmp_path / "data"
    shutil.copytree(root, copy)
    mask = sorted((copy / "train/labels/masks/A").iterdir())[0]
    mask.write_bytes(bomb)
    (problem,) = (p for p in layout.validate(copy) if p.is_error)
    assert problem.file == mask.relative_to(copy).as_posix()
