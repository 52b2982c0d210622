"""Tables of docs/scale.md from the lines of `scale.py` alone: the same lines give the same text.

From the two largest galleries that were measured, a with n_a < b with n_b foregrounds:

  bytes per foreground     those of b / n_b: on the disk; to serve (anonymous memory, and vectors and metadata, which
                           are mapped and should stay in memory); to build
  CPU per query            t(n) = t_b (n / n_b) ** log(t_b / t_a, n_b / n_a)
  shards                   n x the larger of the bytes to serve and to build / (memory of a machine x `USED`)
  CPU per query of shards  shards x t(n / shards): each is asked for its best k
  CPU of building          n / n_b x that of b; encoding n / `ENCODED_PER_CORE_S`
"""

import math
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.files import write_whole

BEGIN, END = "<!-- rendered by benchmarks/scale.py, do not edit -->", "<!-- end of what is rendered -->"
TARGETS = (10**6, 10**8, 10**9)
MACHINE_GIB, USED = 64, 0.75  # assumed: a machine's memory, and the share of it that foregrounds may take
SMALL_GIB = 24  # the machine that was measured on
ENCODED_PER_CORE_S = 53.4 / 2  # cut-outs through the shipped model: benchmarks/backbone.py, docs/benchmarks.md
QUERY_CPU_S = 2 * 0.0166  # one query through the shipped model on both cores: likewise
THUMBNAIL_KB = 10.5  # of cut-outs of persons (COCO) at 160 px, as `fos gallery build` makes them
ID_BYTES = 24
_SERVED = ("memory_mb", "vectors_mb", "metadata_mb")
_ON_DISK = ("vectors_mb", "cosine_index_mb", "posterior_index_mb", "metadata_mb")


def render(results: dict[str, Any]) -> str:
    """Both tables, as Markdown, from what `reporting.Report.write` wrote."""
    lines = [line for line in results["lines"] if "failed" not in line]
    failed = [line for line in results["lines"] if "failed" in line]
    if len(lines) < 2:
        raise InputError(f"scale: {len(lines)} sizes were measured, expected two or more")
    parts = [_measured(lines), *(f"{_number(line['rows'])} foregrounds: {line['failed']}." for line in failed)]
    return "\n\n".join([*parts, _derived(lines[-2:]), _limits(lines[-2:])])


def write(document: str | Path, block: str) -> None:
    """Puts the block between the two marks of a document; `InputError` where it has none."""
    text = Path(document).read_text("utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        raise InputError(f"{document}: no lines {BEGIN!r} and {END!r} in this order, expected them around the tables")
    write_whole(document, f"{text[: begin + len(BEGIN)]}\n\n{block}\n\n{text[end:]}")


def _measured(lines: list[dict[str, Any]]) -> str:
    def both(line: dict[str, Any], name: str) -> str:
        return " / ".join(_number(line[f"{ranking}_{name}"]) for ranking in ("cosine", "posterior"))

    columns = {
        "foregrounds": lambda line: _number(line["rows"]),
        "building, CPU-s": lambda line: _number(line["build_cpu_s"]),
        "memory to build, MB": lambda line: _number(line["build_mb"]),
        "disk, MB": lambda line: _number(sum(line[name] for name in _ON_DISK)),
        "opening, s": lambda line: _number(line["open_s"]),
        "memory to serve, MB": lambda line: _number(sum(line[name] for name in _SERVED)),
        "p50, ms": lambda line: both(line, "p50_ms"),
        "p99, ms": lambda line: both(line, "p99_ms"),
        "queries per second and core": lambda line: " / ".join(
            _number(1e3 / line[f"{ranking}_cpu_ms"]) for ranking in ("cosine", "posterior")
        ),
        "a filter, ms": lambda line: _number(line["filter_ms"]),
        "recall": lambda line: both(line, "recall"),
    }
    return _table([[*columns], *([make(line) for make in columns.values()] for line in lines)])


def _derived(lines: list[dict[str, Any]]) -> str:
    rows = [
        [
            "foregrounds",
            "disk, GB (thumbnails apart)",
            "memory, GB",
            f"machines of {MACHINE_GIB} GiB",
            "CPU of a search, ms (posterior)",
            "building, CPU-hours",
            "encoding, CPU-hours",
        ]
    ]
    last = lines[-1]
    for n in TARGETS:
        shards = math.ceil(n * max(_bytes(last, _SERVED), _bytes(last, ("build_mb",))) / (USED * MACHINE_GIB * 2**30))
        rows.append(
            [
                _number(n),
                f"{_number(n * _bytes(last, _ON_DISK) / 1e9)} + {_number(n * THUMBNAIL_KB / 1e6)}",
                _number(n * _bytes(last, _SERVED) / 1e9),
                _number(shards),
                " / ".join(_number(shards * cpu_ms(lines, ranking, n / shards)) for ranking in ("cosine", "posterior")),
                _number(n / last["rows"] * last["build_cpu_s"] / 3600),
                _number(n / ENCODED_PER_CORE_S / 3600),
            ]
        )
    million = 1e6 / last["rows"] * last["build_cpu_s"]
    costs = (
        f"Per million foregrounds: {_number(1e6 / ENCODED_PER_CORE_S)} CPU-seconds of encoding, {_number(million)} of "
        f"building. Per query, besides the search: {1e3 * QUERY_CPU_S:.0f} CPU-ms of encoding."
    )
    return f"{_table(rows)}\n\n{costs}"


def _limits(lines: list[dict[str, Any]]) -> str:
    first, last = lines

    def fits(names: tuple[str, ...], gib: float) -> str:
        return _number(USED * gib * 2**30 / _bytes(last, names), 2)

    def reaches(name: str, value: float) -> str:
        """By the line through both points."""
        slope = (last[name] - first[name]) / (last["rows"] - first["rows"])
        return _number(last["rows"] + (value - last[name]) / slope, 2)

    rows = [
        [
            fits(("build_mb",), SMALL_GIB),
            f"memory to build on {SMALL_GIB} GiB: ScaNN copies the vectors to train; the writer holds all metadata",
            f"build where there is more ({fits(('build_mb',), MACHINE_GIB)} on {MACHINE_GIB} GiB), copy the folder",
        ],
        [
            fits(_SERVED, SMALL_GIB),
            f"memory to serve on {SMALL_GIB} GiB: beyond it searches wait for the disk",
            f"a larger machine ({fits(_SERVED, MACHINE_GIB)} on {MACHINE_GIB} GiB), or shards",
        ],
        [
            reaches("filter_ms", 20),
            "a filter passes over all rows of a category: 20 ms per query",
            "finer categories, or Milvus",
        ],
        [
            _number(24 * 3600 * 2 * ENCODED_PER_CORE_S, 2),
            "a day of encoding on 2 cores",
            "more cores: cut-outs are encoded independently",
        ],
        [reaches("open_s", 10), "opening takes 10 s", "open the new gallery beside the old one, then switch"],
        [
            _number(2**31 / ID_BYTES, 2),
            f"a category's ids in one segment reach 2 GiB (Arrow's 32-bit offsets; ids of {ID_BYTES} bytes)",
            "shorter ids, or shards",
        ],
    ]
    rows.sort(key=lambda row: float(row[0].replace(",", "")))
    return _table([["foregrounds", "breaks", "way out"], *rows])


def cpu_ms(lines: list[dict[str, Any]], ranking: str, n: float) -> float:
    """CPU time of one search of n foregrounds, by the power law through two lines."""
    (n_a, t_a), (n_b, t_b) = ((line["rows"], line[f"{ranking}_cpu_ms"]) for line in lines)
    return t_b * (n / n_b) ** (math.log(t_b / t_a) / math.log(n_b / n_a))


def _bytes(line: dict[str, Any], names: tuple[str, ...]) -> float:
    return 1e6 * sum(line[name] for name in names) / line["rows"]


def _number(value: float, digits: int = 3) -> str:
    """So many digits, and zeros where the number has more."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"|{'|'.join(row)}|" for row in [head, ["-"] * len(head), *body])
