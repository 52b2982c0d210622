"""Differences of two builds of fos_synthetic, pixel by pixel: processors round in other ways.

    fos dataset build --size=demo --data_dir=data
    XLA_FLAGS=--xla_cpu_max_isa=AVX2 fos dataset build --size=demo --data_dir=data_avx2
    python benchmarks/rendering_differences.py --data_dir=data --other=data_avx2

One JSON line for the foregrounds and one for the queries: shares of pictures and of values (0 to 255, one per channel
and pixel) that differ at all, and by more than 8.
"""

import numpy as np
from reporting import Report, make_parser

LARGE = 8


def compare(data_dir: str, other: str, *, size: str, kind: str, split: str) -> dict:
    """One line; both builds must hold the same examples in the same order."""
    import tensorflow_datasets as tfds

    from fos_jax.data.splits import version_directory

    folders = [str(version_directory(path, "fos_synthetic", f"{size}_{kind}")) for path in (data_dir, other)]
    sources = [tfds.builder_from_directory(folder).as_data_source(split=split) for folder in folders]
    if len(sources[0]) != len(sources[1]):
        raise SystemExit(f"{other}: {len(sources[1])} {kind} in split {split}, expected {len(sources[0])}")
    pictures = values = large = largest = total = 0
    for first, second in zip(*sources, strict=True):
        if first["id"] != second["id"]:
            raise SystemExit(f"{other}: {kind} {second['id']!r}, expected {first['id']!r}")
        difference = np.abs(np.asarray(first["image"], np.int16) - np.asarray(second["image"], np.int16))
        pictures += bool(difference.any())
        values += int(np.count_nonzero(difference))
        large += int(np.count_nonzero(difference > LARGE))
        largest = max(largest, int(difference.max()))
        total += difference.size
    return {
        "kind": kind,
        "size": size,
        "split": split,
        "pictures": len(sources[0]),
        "share_of_pictures": round(pictures / len(sources[0]), 4),
        "share_of_values": round(values / total, 6),
        f"share_by_more_than_{LARGE}": round(large / total, 6),
        "largest": largest,
    }


def main() -> None:
    parser = make_parser(__doc__, "data_dir", "size", "split")
    parser.add_argument("--other", default="data_avx2", help="directory of the other build")
    args, report = parser.parse_args(), Report("rendering_differences")
    if not report.lacks(args.data_dir, args.other):
        for kind in ("foregrounds", "queries"):
            report(compare(args.data_dir, args.other, size=args.size, kind=kind, split=args.split))


if __name__ == "__main__":
    main()
