"""The same galleries by Apache Beam's runners on this machine; needs the extra `beam` (requirements-beam.lock)."""

import pytest

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra: beam)")

from fake_bundle import FakeExperts
from test_bulk import Counting, assert_same, build, cutouts, expected, mini  # noqa: F401

from fos_jax.encoders.bundle import load_bundle
from fos_jax.errors import InputError
from fos_jax.gallery import bulk
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.sources import CocoCutouts

# ruff: noqa: F811

pytestmark = pytest.mark.filterwarnings("default")  # Beam's own are not ours to mend
# Retries a bundle of elements up to four times, which the direct runner of the flags does not.
RETRYING = "apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner"
THREADS = ("--direct_num_workers=3", "--direct_running_mode=multi_threading")


@pytest.mark.parametrize(("runner", "options"), [("direct", ()), ("direct", THREADS), (RETRYING, ())])
def test_the_same_gallery(cutouts, expected, tmp_path, runner, options):
    build(cutouts, tmp_path / "g", runner=runner, pipeline_options=options)
    assert_same(tmp_path / "g", expected)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "whole", "g"}


def test_worker_processes_load_the_model(coco_folder, mini, tmp_path):
    annotations, images = coco_folder(photographs=5)
    names = {"boat": "chair"}
    source = CocoCutouts(annotations, images, categories=("car", "chair"), category_names=names)
    build_gallery(source, load_bundle(mini), tmp_path / "whole", bundle_path=mini)
    options = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    bulk.build_by_shards(
        source,
        load_bundle(mini),
        tmp_path / "g",
        bundle_path=mini,
        shard_size=2,
        runner="direct",
        pipeline_options=options,
    )
    assert_same(tmp_path / "g", tmp_path / "whole")


_calls: list[int] = []
_encode = bulk._encode_elsewhere


def _unreliable(shard, folder):
    """Dies before, in the middle of and after its work."""
    _calls.append(shard)
    if len(_calls) == 2:
        raise RuntimeError("before")
    _encode(shard, folder)
    if len(_calls) in (4, 6):
        raise RuntimeError("after")


def test_retries_leave_no_duplicate(cutouts, expected, tmp_path, monkeypatch):
    _calls.clear()
    monkeypatch.setattr(bulk, "_encode_elsewhere", _unreliable)
    build(cutouts, tmp_path / "g", runner=RETRYING)
    assert len(_calls) > 5
    assert_same(tmp_path / "g", expected)
    broken = Counting(stop_at=range(6, 99), error=RuntimeError("out of order"))
    monkeypatch.setattr(bulk, "_encode_elsewhere", _encode)
    with pytest.raises(RuntimeError, match="out of order"):
        build(cutouts, tmp_path / "h", broken, runner="direct")
    assert list(tmp_path.glob(".h.shards-*/*.parquet"))
    build(cutouts, tmp_path / "h", runner="direct")
    assert_same(tmp_path / "h", expected)


def test_what_the_user_can_mend_is_one_line(cutouts, tmp_path):
    (cutouts / "chair" / "04.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"chair/04\.png") as caught:
        build(cutouts, tmp_path / "g", runner="direct", batch_size=1, shard_size=2)
    assert "\n" not in str(caught.value)
    (cutouts / "chair" / "04.png").write_bytes((cutouts / "chair" / "01.png").read_bytes())
    build(cutouts, tmp_path / "g", runner="direct", batch_size=1, shard_size=2)
    gallery = Gallery.open(tmp_path / "g")
    assert len(gallery) == 23
    gallery.close()


@pytest.mark.parametrize(
    ("runner", "options", "reason"),
    [
        ("nonsense", (), "runner: got 'nonsense', expected in_process, direct, flink"),
        ("nonsense.Runner", (), r"runner: got 'nonsense\.Runner', which cannot be loaded"),
        ("os.path.join", (), r"runner: got 'os\.path\.join', expected"),
        ("collections.OrderedDict", (), r"runner: got 'collections\.OrderedDict', expected"),
        ("direct", ("--direct_num_workers=many",), "options of direct: argument --direct_num_workers: invalid int"),
        ("dataflow", (), "options of dataflow: .*Missing required option: project"),
        ("PortableRunner", ("--job_endpoint=localhost:1", "--job_server_timeout=1"), "could not be given the work"),
    ],
)
def test_runners_and_options_that_are_refused(cutouts, tmp_path, runner, options, reason):
    with pytest.raises(InputError, match=reason) as caught:
        build(cutouts, tmp_path / "g", FakeExperts(), runner=runner, pipeline_options=options)
    assert "\n" not in str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} == {"in"}
