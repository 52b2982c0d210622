"""Experts end to end: examples of a small COCO folder, training, bundle on disk, gallery and search."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import fos_jax
from fos_jax.errors import InputError
from fos_jax.experts.examples import joined_examples, photograph_examples
from fos_jax.experts.loading import load
from fos_jax.experts.model import Experts
from fos_jax.experts.recipe import drawn_split, labelled_examples
from fos_jax.experts.training import Labelled, Settings, encode, own_percentile, train_experts
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.sources import FolderCutouts
from fos_jax.images import encode_png

FEW = {"geometry": 32, "appearance": 32, "patterns": 32}


@pytest.fixture(scope="module")
def examples(source, features):
    views = [
        photograph_examples(source, features, names=("truncation",), mirror=mirror, jitter=0.04, progress=False)
        for mirror in (False, True)
    ]
    return joined_examples(views)


@pytest.fixture(scope="module")
def labelled(examples):
    return labelled_examples(examples, names=("truncation",), min_members=2)


@pytest.fixture(scope="module")
def trained(labelled, backbone):
    data, table = labelled
    split = data.examples.split
    small = Settings(components=FEW, size={"geometry": 8, "appearance": 8})
    return train_experts(data.of(split == "train"), data.of(split == "validation"), table, backbone, small)


def test_examples_are_the_objects_as_they_stand(examples):
    assert 70 <= len(examples) <= 80  # the smallest are left out
    assert examples.has_mask.all()
    assert sorted(set(examples.split.tolist())) == ["test", "train", "validation"]
    plain, mirrored = examples.of(~examples.mirrored), examples.of(examples.mirrored)
    assert plain.id.tolist() == mirrored.id.tolist()
    swap = {"left": "right", "right": "left"}
    for a, b in zip(plain.attributes, mirrored.attributes, strict=True):
        assert b["truncation"] == swap.get(a["truncation"], a["truncation"])
    assert any(a["truncation"] != "none" for a in plain.attributes)


def test_patterns_come_with_their_mirror_images(labelled):
    data, table = labelled
    assert table.categories == ("cup", "lamp")
    assert {p.category for p in table.patterns} == {"cup", "lamp"}
    assert (data.pattern >= 0).sum() > 20
    for row in np.flatnonzero((data.pattern >= 0) & ~data.examples.mirrored):
        partner = table.mirror[data.pattern[row]]
        if partner >= 0:
            assert data.pattern[row + len(data.pattern) // 2] == partner


def test_drawn_splits_keep_photographs_together():
    ids = np.repeat([f"p{i}" for i in range(50)], 3)
    split = drawn_split(ids, share=0.2)
    assert (split == "validation").sum() == 30
    assert all(len(set(split[ids == i])) == 1 for i in set(ids.tolist()))


def test_the_own_foreground_is_found(trained, labelled):
    data, _ = labelled
    test = data.of((data.examples.split != "train") & ~data.examples.mirrored)
    q, f = encode(trained, test, "query"), encode(trained, test, "foreground")
    for name in ("geometry", "appearance"):
        assert own_percentile(q.experts[name] @ f.experts[name].T, test.examples.category).mean() < 0.35, name
    known = test.pattern >= 0
    assert (f.log_posterior[known].argmax(1) == test.pattern[known]).mean() > 0.6


def test_training_is_deterministic_and_bundles_keep_their_answers(trained, labelled, backbone, tmp_path):
    data, table = labelled
    split = data.examples.split
    small = Settings(components=FEW, size={"geometry": 8, "appearance": 8})
    again = train_experts(data.of(split == "train"), data.of(split == "validation"), table, backbone, small)
    assert again.fingerprint == trained.fingerprint
    assert trained.save(tmp_path / "bundle", card="# Card\n") == trained.fingerprint
    loaded = Experts.load(tmp_path / "bundle")
    assert loaded.fingerprint == trained.fingerprint
    assert loaded.expert_weights == trained.expert_weights
    for side in ("query", "foreground"):
        a, b = (encode(model, data, side) for model in (trained, loaded))
        np.testing.assert_array_equal(a.log_posterior, b.log_posterior)
        np.testing.assert_array_equal(a.embedding, b.embedding)
    assert isinstance(load(tmp_path / "bundle"), Experts)
    assert fos_jax.load is load


def test_damaged_and_changed_bundles_are_refused(trained, tmp_path):
    trained.save(tmp_path / "bundle")
    config = tmp_path / "bundle" / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"appearance": ', '"appearance": 1'))
    with pytest.raises(InputError, match="the bundle was changed after it was written"):
        Experts.load(tmp_path / "bundle")
    config.write_text("{")
    with pytest.raises(InputError, match=r"config\.json: cannot be read"):
        Experts.load(tmp_path / "bundle")
    config.write_text(text)
    arrays = tmp_path / "bundle" / "arrays.safetensors"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"arrays\.safetensors: cannot be read"):
        Experts.load(tmp_path / "bundle")


def test_other_weights_than_the_training_s_are_refused(trained, tmp_path):
    trained.save(tmp_path / "bundle")
    loaded = Experts.load(tmp_path / "bundle")  # its training saw 64 px, the default is 224
    with pytest.raises(InputError, match=r"efficientnet_lite0 has other weights \(digest \w+\) than the bundle was"):
        _ = loaded.backbone


def test_without_patterns_geometry_and_appearance_rank_alone(labelled, backbone):
    data, _ = labelled
    bare, table = labelled_examples(dataclasses.replace(data.examples, attributes=[{}] * len(data.examples)))
    assert table.num_patterns == 0
    split = bare.examples.split
    model = train_experts(
        bare.of(split == "train"),
        bare.of(split == "validation"),
        table,
        backbone,
        Settings(components=FEW),
    )
    encoding = encode(model, Labelled(bare.examples, bare.category, bare.pattern), "query")
    assert encoding.log_posterior.shape == (len(bare.category), 0)


def test_a_gallery_of_any_category_is_built_and_searched(trained, coco_folder, tmp_path):
    trained.save(tmp_path / "bundle")
    rng = np.random.default_rng(0)
    for category in ("cup", "tram"):
        (tmp_path / "cutouts" / category).mkdir(parents=True)
        for number in range(6):
            rgba = np.full((60 + 8 * number, 60, 4), 255, np.uint8)
            rgba[..., :3] = rng.integers(0, 255, 3)
            (tmp_path / "cutouts" / category / f"{number}.png").write_bytes(encode_png(rgba))
    manifest = build_gallery(
        FolderCutouts(tmp_path / "cutouts", categories=None),
        trained,
        tmp_path / "gallery",
        bundle_path=tmp_path / "bundle",
    )
    assert manifest["built"]["counts"] == {"cup": 6, "tram": 6}
    assert manifest["built"]["categories_without_patterns"] == ["tram"]
    with fos_jax.ForegroundSearch.open(tmp_path / "gallery", trained) as search:
        photo = Image.open(coco_folder / "images" / "3.png").convert("RGB")
        for category in ("cup", "tram"):
            hits = search.instances(photo, (20, 20, 80, 90), category, k=3)
            assert len(hits) == 3
            assert set(hits[0].parts) >= {"geometry", "appearance"}
        assert "no patterns" in hits[0].why.lower()
    assert json.loads((tmp_path / "gallery" / "manifest.json").read_text())["experts"] == trained.expert_weights
