"""Extraction and proposals on the samples of real photographs."""

from pathlib import Path

import numpy as np
import pytest

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.patterns.descriptors import describe
from fos_jax.patterns.grouping import default_config
from fos_jax.patterns.proposal_report import annotated_truth, group_sheet, measure_agreement, worst_sheet
from fos_jax.patterns.proposals import propose

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"


def _folder(name):
    folder = REAL / name
    if not (folder / "instances.json").is_file():
        pytest.skip(f"../shared/real/{name} is absent: sample of real photographs")
    return folder


def _extract(folder, out, categories):
    source = {
        "kind": "coco",
        "annotations": str(folder / "instances.json"),
        "images": str(folder / "images"),
        "categories": categories,
    }
    return extract(out, source, config_with({}), progress=False)


def test_coco_sample(tmp_path):
    manifest = _extract(_folder("coco_sample"), tmp_path, ["car", "boat", "bus", "train"])
    assert manifest["defects"] == {}
    assert manifest["counts"]["kept"] > 20
    assert {"size", "crowd", "fragmented"} <= set(manifest["counts"])
    cutouts = CutoutSet(tmp_path)
    assert all(cutouts.column("licence"))
    for _, rgba in cutouts.pictures():
        assert rgba.ndim == 3
        assert rgba.shape[2] == 4
    blocks = describe(cutouts, ["shape", "truncation"], progress=False)
    proposals = propose(cutouts.column("id"), cutouts.column("category"), blocks, default_config())
    assert len(proposals.groups()) > 3
    assert group_sheet(cutouts, proposals).shape[2] == 3


def test_groups_agree_with_viewpoints_of_eth80(tmp_path):
    manifest = _extract(_folder("eth80"), tmp_path, ["car"])
    assert manifest["defects"] == {}
    cutouts = CutoutSet(tmp_path)
    assert len(cutouts) > 250
    truth = annotated_truth(cutouts, "viewpoint")
    blocks = describe(cutouts, ["gradients", "shape"], progress=False)
    proposals = propose(cutouts.column("id"), cutouts.column("category"), blocks, default_config())
    result = measure_agreement(proposals.categories, proposals.group, truth)["car"]
    assert result["purity"] > 2 * result["chance_purity"]
    assert result["ari"] > 0.2
    assert np.mean(proposals.group < 0) < 0.2
    assert worst_sheet(cutouts, proposals, truth, count=3).shape[0] > 100
