"""Searches for the queries of a file: order, resumption, bad lines; and the programs that run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_bundle import FakeBundle, FakeExperts, build_from, disc, photo
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery.sources import CutoutRecord
from fos_jax.retrieval import batches
from fos_jax.retrieval.batches import RESULTS, Done, Settings, read_queries, search_file
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

BOX = [10, 5, 30, 25]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A gallery of ten cars and two chairs, and nine photographs from red to blue."""
    path = tmp_path_factory.mktemp("batches")
    records = [CutoutRecord(f"car{i}", "car", disc((250 - 25 * i, 0, 25 * i + 5))) for i in range(10)]
    records += [CutoutRecord(f"chair{i}", "chair", disc((200, 0, 50 + i))) for i in range(2)]
    build_from(records, path / "g", FakeBundle())
    for i in range(9):
        Image.fromarray(photo(250 - 30 * i, 10 + 30 * i)).save(path / f"p{i}.png")
    return path


@pytest.fixture
def search(folder):
    with ForegroundSearch.open(folder / "g", FakeBundle()) as opened:
        yield opened


def line(number=0, **changes):
    return {"photo": f"p{number % 9}.png", "box": BOX, "category": "car"} | changes


def write(folder, lines, name="queries.jsonl"):
    path = folder / name
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in lines))
    return path


def results(output):
    return [json.loads(text) for text in (output / RESULTS).read_text().splitlines()]


def test_results_are_those_of_single_searches_in_order(search, folder, tmp_path):
    asked = [line(i, category="chair" if i % 7 == 3 else "car") for i in range(70)]
    asked[5] |= {"k": 2, "pattern": 1, "id": "fifth"}
    path = write(folder, [*asked[:3], "", *asked[3:]])
    settings = Settings(k=4, filters=Filters(exclude=["car9"]))
    assert search_file(search, path, tmp_path / "out", settings) == Done(70, 0, 0)
    found = results(tmp_path / "out")
    assert [of["query"] for of in found] == asked
    assert [of["line"] for of in found] == [1, 2, 3, *range(5, 72)]
    assert search.bundle.batch_sizes == [64, 64]  # the same program, wherever a run was stopped
    for of in (found[0], found[3], found[5], found[69]):
        own = of["query"]
        options = {"k": own.get("k", 4), "pattern": own.get("pattern"), "filters": settings.filters}
        hits = search.instances(folder / own["photo"], own["box"], own["category"], **options)
        assert [(hit["id"], hit["why"]) for hit in of["hits"]] == [(hit.id, hit.why) for hit in hits]
    assert "refused" not in found[0]
    assert found[5]["query"]["id"] == "fifth"
    assert {hit["pattern"] for hit in found[5]["hits"]} == {1}


def test_fewer_hits_come_with_the_reason(search, folder, tmp_path):
    path = write(folder, [line(0)])
    search_file(search, path, tmp_path, Settings(filters=Filters(only=["car3"])))
    (found,) = results(tmp_path)
    assert [hit["id"] for hit in found["hits"]] == ["car3"]
    options = {"filters": Filters(only=["car3"])}
    assert found["refused"] == search.why_few(folder / "p0.png", BOX, "car", **options)


@pytest.mark.parametrize("cut", [0, 1, 7, -1, -40, None])
def test_a_stopped_search_goes_on(search, folder, tmp_path, cut):
    """Cut to so many bytes, or after five lines: the end is that of a search that was never stopped."""
    path = write(folder, [line(i) for i in range(9)])
    search_file(search, path, tmp_path)
    whole = (tmp_path / RESULTS).read_bytes()
    kept = b"".join(whole.splitlines(keepends=True)[:5]) if cut is None else whole[:cut]
    (tmp_path / RESULTS).write_bytes(kept)
    search.bundle.batch_sizes.clear()
    assert search_file(search, path, tmp_path).earlier == kept.count(b"\n")
    assert (tmp_path / RESULTS).read_bytes() == whole
    assert search_file(search, path, tmp_path) == Done(9, 9, 0)
    assert len(search.bundle.batch_sizes) == 1  # nothing is done again
    more = write(folder, [line(i) for i in range(12)])
    assert search_file(search, more, tmp_path) == Done(12, 9, 0)
    assert (tmp_path / RESULTS).read_bytes().startswith(whole)


def test_results_of_something_else_are_left_alone(search, folder, tmp_path):
    path = write(folder, [line(i) for i in range(3)])
    search_file(search, path, tmp_path)
    whole = (tmp_path / RESULTS).read_bytes()
    for options, lines, message in (
        ({"settings": Settings(k=3)}, 3, r"settings.json: results there have k 20, got 3"),
        ({"settings": Settings(filters=Filters(tags=["a"]))}, 3, r"results there have filters"),
        ({}, [line(1), line(2)], r"results.jsonl, line 1: is of another query than line 1 of .*queries.jsonl"),
        ({}, [line(0)], r"results.jsonl, line 2: is of no line of"),
    ):
        other = write(folder, [line(i) for i in range(lines)] if isinstance(lines, int) else lines)
        with pytest.raises(InputError, match=message):
            search_file(search, other, tmp_path, **options)
        assert (tmp_path / RESULTS).read_bytes() == whole


BAD = [
    ("{", "not JSON, expected an object per line"),
    ('{"box": NaN}', "not JSON"),
    ("\x00", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("7", "not a JSON object"),
    ({"photo": "p0.png", "box": BOX}, "category: missing"),
    (line(0, box="0,0,9,9"), r'box: got "0,0,9,9", expected \[x0, y0, x1, y1\]'),
    (line(0, k=True), "k: got true, expected a whole number"),
    (line(0, photo=None), "photo: got null, expected a path"),
    (line(0, boxx=1), "boxx: unknown, expected photo, box"),
]
UNUSABLE = [
    (line(0, photo="none.png"), "photo: .*none.png: cannot be read"),
    (line(0, photo="queries.jsonl"), "photo: .*not an image"),
    (line(0, photo="p0\x00.png"), "photo: "),
    (line(0, box=[0, 0, 99, 9]), "box: got .* expected it inside the image of 60 x 40 px"),
    (line(0, box=[[], 1, 2, 3]), "box: got"),
    (line(0, category="cat"), "category: unknown 'cat'"),
    (line(0, k=0), "k: got 0"),
    (line(0, pattern=2), "pattern: got 2, expected one of car's"),
]


@pytest.mark.parametrize(("bad", "message"), [*BAD, *UNUSABLE])
def test_a_bad_line_is_named_and_ends_the_search_or_is_passed_by(search, folder, tmp_path, bad, message):
    path = write(folder, [line(0), bad, line(1)])
    with pytest.raises(InputError, match=f"queries.jsonl, line 2, {message}"):
        search_file(search, path, tmp_path)
    is_found_first = (bad, message) in BAD
    assert (tmp_path / RESULTS).exists() != is_found_first
    if not is_found_first:
        assert [of["line"] for of in results(tmp_path)] == [1]  # what was done stays, and the file is mended
    assert search_file(search, path, tmp_path, skip_bad=True) == Done(3, 0 if is_found_first else 1, 1)
    first, second, third = results(tmp_path)
    assert second.keys() == {"line", "query", "error"}
    assert len(first["hits"]) == len(third["hits"]) == 10
    assert search_file(search, path, tmp_path, skip_bad=True) == Done(3, 3, 1)


def test_files_that_cannot_be_read_or_written(search, folder, tmp_path):
    path = write(folder, [line(0)])
    with pytest.raises(InputError, match=r"nowhere: cannot be read"):
        search_file(search, folder / "nowhere", tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/settings.json"):
        search_file(search, path, tmp_path / "file")
    (tmp_path / "b" / RESULTS).mkdir(parents=True)
    with pytest.raises(InputError, match=r"results.jsonl: cannot be written"):
        search_file(search, path, tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / batches.SETTINGS).write_text("[")
    with pytest.raises(InputError, match=r"settings.json: cannot be read"):
        search_file(search, path, tmp_path / "c")
    search_file(search, path, tmp_path / "d")
    with open(tmp_path / "d" / RESULTS, "rb") as file:
        batches.fcntl.flock(file, batches.fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"results.jsonl: another process is writing it"):
            search_file(search, path, tmp_path / "d")


def test_no_photograph_is_kept(search, folder, monkeypatch):
    """Of eighty photographs at most a batch's inputs are held; what is kept of each takes no memory."""
    sizes = []
    encode = batches.encode_prepared

    def noting(prepared, *args, **options):
        sizes.append(sum(query.photo.strides != (0, 0, 0) for query in prepared))
        return encode(prepared, *args, **options)

    monkeypatch.setattr(batches, "encode_prepared", noting)
    assert len(list(batches.answers(search, read_queries(write(folder, [line(i) for i in range(80)]))))) == 80
    assert sizes == [0, 0]


def run(program, *flags):
    """A program with FakeExperts in place of every bundle."""
    code = "import sys; sys.path[:0] = ['tests/gallery']\nfrom fake_bundle import FakeExperts\n"
    code += "import fos_jax.experts.loading as l; l.load = lambda path: FakeExperts()\n"
    code += f"import fos_jax.launch.{program} as p\nfrom fos_jax.program import run_program; run_program(p.main)"
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, *map(str, flags)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "300"}  # paths of temporary folders are long
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_the_programs(folder, tmp_path):
    build_from(
        [CutoutRecord(f"car{i}", "car", disc((250 - 80 * i, 0, 80 * i))) for i in range(4)],
        tmp_path / "g",
        FakeExperts(),
    )
    path = write(folder, [line(i) for i in range(3)])
    flags = (f"--gallery={tmp_path / 'g'}", "--bundle=b", f"--queries={path}")
    done = run("search", *flags, f"--output={tmp_path / 'out'}", "--diversity=0.4", "--k=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out' / RESULTS}: 3 queries\n"
    assert [len(of["hits"]) for of in results(tmp_path / "out")] == [2, 2, 2]
    reverse = run("search_reverse", *flags, "--foreground=car3")
    assert reverse.returncode == 0, reverse.stderr
    lines = reverse.stdout.splitlines()
    assert lines[0].split() == ["place", "score", "percentile", "photograph", "rectangle", "pattern"]
    assert lines[1].split()[4:6] == [str(folder / "p2.png"), "10,5,30,25"]
    Image.fromarray(disc((0, 0, 250))).save(tmp_path / "c.png")
    told = run("search_reverse", *flags, f"--cutout={tmp_path / 'c.png'}", "--category=car", "--json", "--k=1")
    assert json.loads(told.stdout)["line"] == 3
