"""The programs that change a gallery, one after another on one gallery."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_bundle import FakeExperts, disc, photo
from PIL import Image

from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.sources import FolderCutouts
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fake_bundle import FakeExperts
import fos_jax.encoders.bundle
fos_jax.encoders.bundle.load_bundle = lambda path: FakeExperts()
sys.argv = ["fos", *{arguments!r}]
from fos_jax.__main__ import main
main()
"""
ANY = Filters(max_upscale=99, aspect_tolerance=99, any_truncation=True)


def fos(*arguments, code=0):
    program = _PROGRAM.format(tests=str(Path(__file__).parent), arguments=[str(a) for a in arguments])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return (done.stderr if code else done.stdout).splitlines()[-1 if code else 0 :]


def save(folder, colours):
    for name, colour in colours.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(disc(colour)).save(path)
    return folder


@pytest.fixture
def path(tmp_path):
    source = save(tmp_path / "in", {"car/red": (250, 0, 5), "car/blue": (5, 0, 250), "lamp/white": (200, 200, 200)})
    (tmp_path / "b").mkdir()
    build_gallery(FolderCutouts(source, categories=None), FakeExperts(), tmp_path / "g", bundle_path=tmp_path / "b")
    return tmp_path / "g"


def test_the_life_of_a_gallery(path, tmp_path):
    gallery = f"--gallery={path}"
    more = save(tmp_path / "more", {"car/violet": (200, 0, 60), "bus/red": (250, 0, 9)})
    other = save(tmp_path / "other", {"car/red": (240, 0, 10)})
    with ForegroundSearch.open(path, FakeExperts()) as search:

        def found(**limits):
            search.gallery.refresh()
            filters = Filters(max_upscale=99, aspect_tolerance=99, any_truncation=True, **limits)
            return [hit.id for hit in search.instances(photo(), (10, 5, 30, 25), "car", filters=filters)]

        assert sorted(found()) == ["car/blue.png", "car/red.png"]
        told = fos("gallery", "add", gallery, f"--cutouts={more}", "--tag=new", "--note=second delivery")
        assert told == [f"{path}: change 2, 2 added"]
        assert set(found()) == {"car/blue.png", "car/red.png", "car/violet.png"}
        assert found(tags=["new"]) == found(added_since_s=search.gallery.column("added_s").max() - 1e-6)
        assert found(tags=["new"]) == ["car/violet.png"]
        assert found(only=["car/blue.png", "bus/red.png"]) == ["car/blue.png"]
        assert found(sources=["car/red.png"]) == ["car/red.png"]
        assert found(tags=["new", "old"]) == []
        why = search.why_few(photo(), (10, 5, 30, 25), "car", filters=Filters(tags=["new", "old"], any_truncation=True))
        assert "3 without the tags (fewer --tag relaxes that)" in why
        hit = search.instances(photo(), (10, 5, 30, 25), "car", k=1, filters=Filters(tags=["new"]))[0]
        assert hit.tags == ("new",)
        assert hit.cutout().size == (20, 20)
        refused = fos("gallery", "add", gallery, f"--cutouts={more}", code=2)
        assert refused == [f"error: id: 'bus/red.png' is in {path} already"]
        assert fos("gallery", "replace", gallery, f"--cutouts={other}") == [
            f"{path}: change 3, 1 added, 1 of them in the place of earlier ones"
        ]
        assert fos(
            "gallery", "replace", gallery, f"--cutouts={save(tmp_path / 'x', {'car/x': (1, 2, 3)})}", code=2
        ) == [f"error: id: no foreground 'car/x.png' in {path} to replace"]
        (tmp_path / "ids").write_text("car/blue.png\n")
        assert fos("gallery", "remove", gallery, "--id=bus/red.png", f"--ids={tmp_path / 'ids'}") == [
            f"{path}: change 4, 2 removed"
        ]
        assert set(found()) == {"car/red.png", "car/violet.png"}
        assert fos("gallery", "remove", gallery, "--id=nobody", code=2) == [
            f"error: id: no foreground 'nobody' in {path}"
        ]
        assert fos("gallery", "rollback", gallery, "--to=1") == [f"{path}: change 5, holds what it held after change 1"]
        assert set(found()) == {"car/blue.png", "car/red.png"}
        assert fos("gallery", "rollback", gallery, "--to=4")
        history = fos("gallery", "history", gallery)
        assert [line.split()[4] for line in history] == ["build", "add", "replace", "remove", "rollback", "rollback"]
        assert history[1].endswith("2 added                  second delivery")
        entries = json.loads("\n".join(fos("gallery", "history", gallery, "--json", "--id=car/blue.png")))
        assert next((entry["action"], entry["removed"][-1:]) for entry in entries) == ("remove", ["car/blue.png"])
        info = json.loads("\n".join(fos("gallery", "info", gallery, "--json")))
        assert info["categories"] == {"car": 2, "chair": 0, "bus": 0, "lamp": 1}
        assert info["tags"] == {"new": 1}
        assert (info["num_recent"], info["num_removed"], info["can_roll_back_to"]) == (2, 3, 1)
        assert fos("gallery", "compact", gallery)[0].startswith(f"{path}: change 7, 3 foregrounds in one segment")
        assert set(found()) == {"car/red.png", "car/violet.png"}
        text = "\n".join(fos("gallery", "info", gallery))
        assert "categories: 2 car, 1 lamp\npatterns: 2 red car\n" in text
        assert "since the last compaction: 0 recent, 0 removed" in text
        assert fos("gallery", "verify", gallery) == [f"{path}: every checksum is right"]
        fos("gallery", "rollback", gallery, "--to=1", code=2)
    segment = next((path / "segments").iterdir())
    (segment / "cutouts.bin").write_bytes(b"")
    program = fos("gallery", "verify", gallery, code=2)
    assert program == []
    assert fos("search", gallery, "--photo=x", "--box=0,0,1,1", "--category=car", code=2)
