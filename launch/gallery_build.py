"""Build a gallery: cut-outs, embedded by a model bundle, ready to be searched.

  # from a split of a built data set
  fos gallery build --bundle=runs/demo/student/bundle --data_dir=data --size=demo --split=test --output=gallery
  # from RGBA pictures, <category>/*.png
  fos gallery build --bundle=runs/demo/student/bundle --cutouts=my_cutouts --output=my_gallery
  # from the output of fos cutouts, with licences, sources and truncated sides
  fos gallery build --bundle=runs/demo/student/bundle --cutouts=extracted --output=my_gallery
  # from photographs with COCO annotations, cut out by their masks
  fos gallery build --bundle=runs/demo/student/bundle --annotations=instances.json --images=images \\
      --category_names="potted plant=plant" --output=my_gallery

A gallery that is already there is replaced in one step at the end; until then it can be searched. The same command goes
on where it was interrupted: cut-outs are encoded shard by shard into a folder that is removed at the end.

  # with indexes that are as fast as queries of one's own allow, which also later compactions use
  fos gallery build --cutouts=extracted --output=my_gallery --tuning_queries=queries.jsonl --target_recall=.99

  # by Apache Beam (pip install 'fos-jax[beam]'), here or on a cluster; docs/bulk.md
  fos gallery build --annotations=instances.json --images=images --output=my_gallery --runner=direct \\
      --pipeline_options=--direct_num_workers=2,--direct_running_mode=multi_processing
"""

from absl import flags

from fos_jax.launch import cutout_sources
from fos_jax.program import run_program

flags.adopt_module_key_flags(cutout_sources)
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the gallery.", required=True)
_REFERENCE = flags.DEFINE_bool("reference", False, "With --cutouts: store paths of the files, no copies.")
_MIRROR = flags.DEFINE_bool(
    "mirror", None, "Encode cut-outs mirrored too, where their pattern has a mirror image (for fos search --mirror)."
)
_INDEX_MIN_ROWS = flags.DEFINE_integer(
    "index_min_rows", 20_000, "Categories of this size get an approximate index.", 256
)
_TARGET_RECALL = flags.DEFINE_float(
    "target_recall", 0.99, "Share of the 20 best that an approximate index has to find.", 0.5, 1.0
)
_TUNING_QUERIES = flags.DEFINE_string(
    "tuning_queries", None, "File of queries, as fos search --queries takes: indexes reach the target on them."
)
_RUNNER = flags.DEFINE_string(
    "runner",
    "in_process",
    "Where cut-outs are encoded: in_process, or by Beam: direct, flink, spark, dataflow.",
)
_PIPELINE_OPTIONS = flags.DEFINE_list("pipeline_options", [], "Options of the runner, separated by commas.")
_SHARDS = flags.DEFINE_string("shards", None, "Folder for encoded shards; by default a hidden one beside the gallery.")
_SHARD_SIZE = flags.DEFINE_integer("shard_size", 2048, "Cut-outs in a shard.", 1)


def main() -> None:
    from fos_jax.beam import check_runner
    from fos_jax.gallery.bulk import build_by_shards
    from fos_jax.gallery.indexing import Indexing
    from fos_jax.gallery.info import few
    from fos_jax.retrieval.tuning import encode_tuning_queries

    cutout_sources.check_flags()
    check_runner(_RUNNER.value, _PIPELINE_OPTIONS.value)
    bundle, path = cutout_sources.load_bundle()
    queries = encode_tuning_queries(_TUNING_QUERIES.value, bundle, progress=True) if _TUNING_QUERIES.value else {}
    manifest = build_by_shards(
        cutout_sources.open_source(bundle, is_reference=_REFERENCE.value),
        bundle,
        _OUTPUT.value,
        bundle_path=path,
        shards=_SHARDS.value,
        shard_size=_SHARD_SIZE.value,
        runner=_RUNNER.value,
        pipeline_options=_PIPELINE_OPTIONS.value,
        cutouts="reference" if _REFERENCE.value else "copy",
        mirror=_MIRROR.value,
        indexing=Indexing(_INDEX_MIN_ROWS.value, _TARGET_RECALL.value, queries),
        tags=cutout_sources.tags(),
        progress=True,
    )
    built = manifest["built"]
    counts = few([f"{n} {name}" for name, n in sorted(built["counts"].items(), key=lambda of: -of[1])])
    print(f"{_OUTPUT.value}: {built['num_foregrounds']} foregrounds ({counts})")
    if without := built["categories_without_patterns"]:
        by = " and ".join(manifest["experts"]) or "nothing"
        print(f"no patterns are known for {few(without)}: searches rank them by {by}")
    for category, own in queries.items():
        print(f"indexes of {category} are measured with {len(own['cosine'])} queries of {_TUNING_QUERIES.value}")
    for reason, n in built["skipped"].items():
        print(f"left out: {n} ({reason})")


if __name__ == "__main__":
    run_program(main)
