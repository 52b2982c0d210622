"""The same shards by Apache Beam's direct runner; needs the extra `beam` (requirements-beam.lock)."""

import pytest

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra: beam)")

from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with, default_config
from fos_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("default")  # Beam's own are not ours to mend


def _source(paths):
    return {"kind": "coco", "annotations": str(paths[0]), "images": str(paths[1])}


def _run(folder, paths, runner, options=()):
    return extract(
        folder,
        _source(paths),
        default_config(),
        photographs_per_shard=2,
        runner=runner,
        pipeline_options=options,
        progress=False,
    )


@pytest.mark.parametrize("options", [(), ("--direct_num_workers=2", "--direct_running_mode=multi_threading")])
def test_beam_writes_the_same_bytes(coco_folder, tmp_path, options):
    paths = coco_folder(photographs=7)
    expected = _run(tmp_path / "process", paths, "in_process")
    found = _run(tmp_path / "beam", paths, "direct", options)
    assert found == expected  # with the checksum of each shard
    assert _run(tmp_path / "beam", paths, "direct", options) == expected  # nothing left to do


def test_beam_passes_on_what_the_user_can_mend(coco_folder, tmp_path):
    paths = coco_folder(photographs=3)
    (paths[1] / "p0002.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"p0002\.png") as caught:
        _run(tmp_path / "beam", paths, "direct")
    assert "\n" not in str(caught.value)


def test_beam_with_a_segmenter(coco_folder, segmenter_file, tmp_path):
    annotations, images = coco_folder(photographs=6)
    source = {"kind": "coco", "annotations": str(annotations), "images": str(images)}
    # A network that finds all that is not dark; every worker opens it by its path and checksum.
    file = segmenter_file(weights=(9.0, 9.0, 9.0), bias=-2.0)
    source["segmenter"] = {"file": str(file)}
    manifests = [
        extract(
            tmp_path / runner,
            source,
            config_with({"soft_edge.max_softness": 9.0, "holes.max_share": 1.0}),
            photographs_per_shard=2,
            runner=runner,
            pipeline_options=("--direct_num_workers=2", "--direct_running_mode=multi_threading")
            if runner == "direct"
            else (),
            progress=False,
        )
        for runner in ("in_process", "direct")
    ]
    assert manifests[0] == manifests[1]
    assert manifests[0]["counts"]["kept"] > 0
