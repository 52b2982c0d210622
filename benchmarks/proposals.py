"""Proposed patterns against a known truth, one JSON line per data set, block and method.

    python benchmarks/proposals.py [--bundle=runs/demo/teacher/bundle] [--data_dir=data --size=demo --split=test]

On ETH-80, where it is there: a pattern is a category and a viewpoint bin (25 bins, `agreement.viewpoint_bins`). On
fos_synthetic, where it is built: the data set's own patterns. With a bundle also its embedding, which saw the synthetic
patterns in training (other instances) and no photograph. --pictures=FOLDER writes the worst groups.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from eth80 import ANNOTATIONS, read_eth80
from reporting import Report, make_parser, work_folder

from fos_jax.images import encode_png
from fos_jax.patterns.descriptors import describe_pictures
from fos_jax.patterns.grouping import METHODS, default_config
from fos_jax.patterns.proposal_report import contact_sheet, measure_agreement, worst_groups
from fos_jax.patterns.proposals import propose

ROUNDED = ("outliers", "purity", "chance_purity", "ari", "nmi", "chance_nmi")


def synthetic(data_dir: str, size: str, split: str) -> tuple[list[np.ndarray], list[str], np.ndarray]:
    """Pictures, categories and true patterns int [n]."""
    from fos_jax.data.splits import load_foregrounds

    with work_folder(None) as cache:
        foregrounds, table = load_foregrounds(
            data_dir, size=size, split=split, foreground_size=64, cache_dir=cache, progress=False
        )
        images = list(np.array(foregrounds.image))
    return images, [table.categories[i] for i in foregrounds.category], np.asarray(foregrounds.pattern)


def embedder(path: str):
    """The bundle's foreground encoder and its image size; the embedding does not depend on the category."""
    from fos_jax.encoders.bundle import load_bundle

    bundle = load_bundle(path)
    embed = lambda images, names: bundle.encode_foregrounds(images, np.zeros(len(names), np.int32)).embedding  # noqa: E731
    return embed, bundle.foreground_size


def measure(
    name: str,
    images: Sequence[np.ndarray],
    categories: Sequence[str],
    truth: np.ndarray,
    report: Report,
    *,
    bundle: str | None,
    pictures: Path | None,
) -> None:
    """Reports each block and method on one data set."""
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
            report({"data": name, "by": label, "method": method, **result})
            if pictures and method == config.method == METHODS[0]:
                rows = []
                for number, share in worst_groups(proposals.group, truth, 24):
                    members = np.flatnonzero(proposals.group == number)
                    members = members[np.argsort(truth[members], kind="stable")]
                    rows.append((f"{categories[members[0]]}\npurity {share:.2f}", [images[i] for i in members[:16]]))
                pictures.mkdir(parents=True, exist_ok=True)
                (pictures / f"worst_{name}_{label}.png").write_bytes(encode_png(contact_sheet(rows)))


def main() -> None:
    parser = make_parser(__doc__, "data_dir", "size", "split", "pictures")
    parser.add_argument("--bundle", help="bundle whose foreground encoder describes the cut-outs too")
    args, report = parser.parse_args(), Report("proposals")
    options = {"bundle": args.bundle, "pictures": args.pictures}
    if not report.lacks(ANNOTATIONS):
        with work_folder(None) as folder:
            data = read_eth80(folder / "cutouts")
        measure("eth80", data.pictures, data.category.tolist(), data.viewpoint, report, **options)
    if not report.lacks(Path(args.data_dir) / "fos_synthetic" / f"{args.size}_foregrounds"):
        data = synthetic(args.data_dir, args.size, args.split)
        measure(f"fos_synthetic_{args.size}_{args.split}", *data, report, **options)


if __name__ == "__main__":
    main()
