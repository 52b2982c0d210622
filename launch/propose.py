"""Group cut-outs into proposed patterns, for people to verify.

  fos propose --cutouts=runs/cutouts --output=runs/proposals --bundle=runs/demo/teacher/bundle
  fos propose --cutouts=runs/cutouts --output=runs/proposals --attributes=truncation,person_facing

With --attributes groups are combinations of what annotations tell (names as of fos dataset build --from), each with its
attributes; without, clusters of descriptors. Writes proposals.parquet, groups.png and settings; with --truth (where
annotations carry one) also agreement.json and worst_groups.png.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder that fos cutouts wrote.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the proposals to.", required=True)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle whose foreground encoder describes the cut-outs.")
_BLOCKS = flags.DEFINE_list("blocks", ["gradients", "shape", "truncation"], "Descriptors; a bundle adds its embedding.")
_METHOD = flags.DEFINE_enum("method", "agglomerative", ["agglomerative", "kmeans", "hdbscan"], "Clustering method.")
_MEMBERS = flags.DEFINE_float("members_per_group", None, "Average size of a group; small: purer and more groups.")
_ATTRIBUTES = flags.DEFINE_list("attributes", None, "Group by these attributes of the annotations.")
_SKIP_DEFECTS = flags.DEFINE_bool("skip_defects", False, "With --attributes: pass over defective annotations.")
_TRUTH = flags.DEFINE_string("truth", None, "Measure groups against it: viewpoint, or an annotated attribute.")


def _embedder(bundle):
    """The bundle's foreground encoder; categories that it does not know share its first class id, which embeddings
    do not depend on."""

    def embed(images: np.ndarray, categories: Sequence[str]) -> np.ndarray:
        known = bundle.table.categories
        ids = np.array([known.index(name) if name in known else 0 for name in categories], np.int32)
        return bundle.encode_foregrounds(images, ids).embedding

    return embed


def _propose(cutouts):
    import fos_jax
    from fos_jax.cutouts.records import Defects
    from fos_jax.patterns.annotations.grouping import propose_by_attributes
    from fos_jax.patterns.descriptors import describe
    from fos_jax.patterns.grouping import default_config
    from fos_jax.patterns.proposals import propose

    if _ATTRIBUTES.value is not None:
        return propose_by_attributes(cutouts, _ATTRIBUTES.value, defects=Defects(skip=_SKIP_DEFECTS.value))
    config = default_config()
    config.method = _METHOD.value
    config.members_per_group = _MEMBERS.value or config.members_per_group
    bundle = fos_jax.load(_BUNDLE.value) if _BUNDLE.value else None
    names = [*_BLOCKS.value, *(["embedding"] if bundle and "embedding" not in _BLOCKS.value else [])]
    side = bundle.foreground_size if bundle else 64
    blocks = describe(cutouts, names, embed=_embedder(bundle) if bundle else None, embed_side_px=side)
    return propose(cutouts.column("id"), cutouts.column("category"), blocks, config, cutouts=cutouts.fingerprint)


def main() -> None:
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.files import write_whole
    from fos_jax.images import encode_png
    from fos_jax.patterns.proposal_report import annotated_truth, group_sheet, measure_agreement, worst_sheet
    from fos_jax.patterns.proposals import write_proposals

    cutouts = CutoutSet(_CUTOUTS.value)
    if not len(cutouts):
        raise InputError(f"{_CUTOUTS.value}: no cut-out was kept; report.html there shows what the filters removed")
    truth = annotated_truth(cutouts, _TRUTH.value) if _TRUTH.value else None
    proposals = _propose(cutouts)
    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    (output / "groups.png").write_bytes(encode_png(group_sheet(cutouts, proposals)))
    if truth is not None:
        agreement = measure_agreement(proposals.categories, proposals.group, truth)
        write_whole(output / "agreement.json", json.dumps(agreement, indent=1) + "\n")
        (output / "worst_groups.png").write_bytes(encode_png(worst_sheet(cutouts, proposals, truth)))
        print(json.dumps(agreement["all"]))
    write_proposals(output / "proposals.parquet", proposals)
    print(f"{len(cutouts)} cut-outs, {len(proposals.groups())} groups, {int((proposals.group < 0).sum())} outliers")
    print(output / "proposals.parquet")


if __name__ == "__main__":
    run_program(main)
