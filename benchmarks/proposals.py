"""Proposed patterns against a known truth, one JSON line a data set, block and method.

    python benchmarks/proposals.py [--bundle=runs/demo/teacher/bundle] [--data_dir=data --size=demo --split=test]

On ../shared/real/eth80, where it is there: a pattern is a category and a viewpoint bin (25 bins, see
`agreement.viewpoint_bins`). On fos_synthetic, where it is built: the data set's own patterns. With a bundle also its
embedding, which saw the synthetic patterns in training (other instances) and no photograph. --pictures=FOLDER writes
the worst groups.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.images import encode_png
from fos_jax.patterns.descriptors import describe_pictures
from fos_jax.patterns.grouping import METHODS, default_config
from fos_jax.patterns.proposal_report import annotated_truth, contact_sheet, measure_agreement, worst_groups
from fos_jax.patterns.proposals import propose

REAL = Path(__file__).resolve().parents[2] / "shared" / "real" / "eth80"
ROUNDED = ("outliers", "purity", "chance_purity", "ari", "nmi", "chance_nmi")


def eth80(folder: str) -> tuple[list[np.ndarray], list[str], np.ndarray]:
    """Pictures, categories and truth."""
    source = {"kind": "coco", "annotations": str(REAL / "instances.json"), "images": str(REAL / "images")}
    extract(folder, source, config_with({}), progress=False)
    cutouts = CutoutSet(folder)
    pictures = dict(cutouts.pictures())
    return (
        [pictures[i] for i in range(len(cutouts))],
        cutouts.column("category"),
        annotated_truth(cutouts, "viewpoint"),
    )


def synthetic(data_dir: str, size: str, split: str) -> tuple[list[np.ndarray], list[str], np.ndarray]:
    """Pictures, categories and truth."""
    from fos_jax.data.splits import load_foregrounds

    with tempfile.TemporaryDirectory() as cache:
        foregrounds, table = load_foregrounds(
            data_dir, size=size, split=split, foreground_size=64, cache_dir=cache, progress=False
        )
        images = list(np.array(foregrounds.image))
    return images, [table.categories[i] for i in foregrounds.category], np.asarray(foregrounds.pattern)


def embedder(path: str):
    """The bundle's foreground encoder and its image size; its embedding does not depend on the category."""
    from fos_jax.encoders.bundle import load_bundle

    bundle = load_bundle(path)
    embed = lambda images, names: bundle.encode_foregrounds(images, np.zeros(len(names), np.int32)).embedding  # noqa: E731
    return embed, bundle.foreground_size


def measure(name: str, data, bundle: str | None, pictures: str | None) -> None:
    images, categories, truth = data
    embed, side = embedder(bundle) if bundle else (None, 64)
    blocks = ["gradients", "shape", *(["embedding"] if embed else [])]
    described = describe_pictures(enumerate(images), categories, blocks, embed=embed, embed_side_px=side)
    choices = {"gradients+shape": ["gradients", "shape"]}
    if embed:
        choices |= {"embedding": ["embedding"], "all": blocks}
    for label, chosen in choices.items():
        for method in METHODS:
            config = default_config()
            config.method = method
            ids = [str(i) for i in range(len(images))]
            proposals = propose(ids, categories, {block: described[block] for block in chosen}, config)
            result = measure_agreement(categories, proposals.group, truth)["all"]
            result |= {key: round(result[key], 3) for key in ROUNDED}
            print(
                json.dumps({"benchmark": "proposals", "data": name, "by": label, "method": method, **result}),
                flush=True,
            )
            if pictures and method == config.method == METHODS[0]:
                rows = []
                for number, share in worst_groups(proposals.group, truth, 24):
                    members = np.flatnonzero(proposals.group == number)
                    members = members[np.argsort(truth[members], kind="stable")]
                    rows.append((f"{categories[members[0]]}\npurity {share:.2f}", [images[i] for i in members[:16]]))
                Path(pictures).mkdir(parents=True, exist_ok=True)
                (Path(pictures) / f"worst_{name}_{label}.png").write_bytes(encode_png(contact_sheet(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle")
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--size", default="demo")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures")
    args = parser.parse_args()
    if (REAL / "instances.json").is_file():
        with tempfile.TemporaryDirectory() as folder:
            measure("eth80", eth80(f"{folder}/cutouts"), args.bundle, args.pictures)
    else:
        print(json.dumps({"benchmark": "proposals", "data": "eth80", "skipped": f"{REAL} is absent"}))
    if (Path(args.data_dir) / "fos_synthetic" / f"{args.size}_foregrounds").is_dir():
        data = synthetic(args.data_dir, args.size, args.split)
        measure(f"fos_synthetic_{args.size}_{args.split}", data, args.bundle, args.pictures)
    else:
        skipped = f"fos_synthetic ({args.size}) is not built in {args.data_dir}"
        print(json.dumps({"benchmark": "proposals", "data": "fos_synthetic", "skipped": skipped}))


if __name__ == "__main__":
    main()
