"""Plan of a build by shards: what is in each shard, and how it is encoded.

Layout of the folder of shards, which is removed when the gallery is there:

    plan/plan.json                  bundle, source, options; digest and size of each shard
    plan/00000-<digest>.jsonl       work of one shard: units of the source (see `reading`), with size and time of files
    00000-<digest>.parquet          its encoded cut-outs (see `shard_files`)
    lock                            held by the process that builds

The digest is of all that decides what is in a shard. Each file is there whole or not at all and is named by it, so that
work may be repeated by runners that retry, and goes on where it was interrupted.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.experts.loading import SHIPPED
from fos_jax.files import published_directory
from fos_jax.gallery.reading import Unit
from fos_jax.gallery.sources import DivisibleSource

FORMAT_VERSION = 1
_PLAN = Path("plan", "plan.json")
_LOCK = "lock"
_SHARDS, _LEFT = "[0-9]*-*.parquet", ".[0-9]*.parquet.partial-*"  # the second of writers that were killed
_MOST_SAID = 100


@dataclasses.dataclass(frozen=True)
class Plan:
    """Contents of plan.json.

    Attributes:
      folder: of the shards.
      identity: what every start of one build has in common, see `identity_of`.
      bundle_path: where workers find the bundle; "" for the one in their package.
      digests, counts: of each shard; a count of cut-outs is an upper bound.
    """

    folder: Path
    identity: Mapping[str, Any]
    bundle_path: str
    digests: Sequence[str]
    counts: Sequence[int]

    def __len__(self) -> int:
        return len(self.digests)

    def path(self, shard: int) -> Path:
        """Where the encoded shard is, once it is."""
        return self.folder / f"{shard:05d}-{self.digests[shard]}.parquet"

    def work_path(self, shard: int) -> Path:
        """Where its work is written down: a line of JSON per unit, [item, stamp of its file]."""
        return self.folder / "plan" / f"{shard:05d}-{self.digests[shard]}.jsonl"

    def missing(self) -> list[int]:
        """The shards that are not encoded yet."""
        there = set(os.listdir(self.folder))
        return [shard for shard in range(len(self)) if self.path(shard).name not in there]


def identity_of(
    source: DivisibleSource, *, fingerprint: str, options: Mapping[str, Any], shard_size: int
) -> dict[str, Any]:
    """What every start of one build has in common, as JSON.

    Args:
      source: where the cut-outs come from. fingerprint: of the bundle. options: of `encoding.Encoder`.
      shard_size: cut-outs in a shard.
    """
    settings = {**source.settings, "root": str(Path(source.settings["root"]).resolve())}
    raw = {
        "format_version": FORMAT_VERSION,
        "bundle": fingerprint,
        "source": {"name": source.name, "settings": settings},
        "options": options,
        "shard_size": shard_size,
    }
    return dict(json.loads(json.dumps(raw)))


def digest_of(value: Any) -> str:
    """16 hexadecimal digits of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """`InputError` where a folder holds shards of another build, naming the first difference, or something else."""
    try:
        if all(path.name == _LOCK or ".partial-" in path.name for path in folder.iterdir()):
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder}: cannot be read as a folder of shards ({error.strerror})") from None
    if (there := read_plan(folder).identity) != identity:
        raise InputError(
            f"{folder}: holds shards of another build ({_difference(there, identity)}), expected those of this one, "
            "an empty folder or none"
        )


def _difference(there: Any, wanted: Any, name: str = "") -> str:
    if isinstance(there, dict) and isinstance(wanted, dict):
        for key, value in wanted.items():
            if there.get(key) != value:
                return _difference(there.get(key), value, f"{name}.{key}".lstrip("."))
    was, now = (textwrap.shorten(str(value), _MOST_SAID) for value in (there, wanted))
    return f"{name} was {was}, is {now}" if was != now else f"another {name}"


def make_plan(source: DivisibleSource, identity: Mapping[str, Any], folder: Path, *, bundle_path: str | Path) -> Plan:
    """Lists the source and writes down the work of each shard, in the place of an earlier plan of the same build.

    Encoded shards whose work is the same as before stay, others are deleted.

    Args:
      source: where the cut-outs come from. identity: of the build, by `identity_of`.
      folder: of the shards, held by `locked`. bundle_path: where the bundle is.

    Raises:
      InputError: as `check_folder`, or the disk refuses.
    """
    check_folder(folder, identity)
    digests, counts = list[str](), list[int]()
    with published_directory(folder / "plan") as aside:
        for units in _divided(source.units(), identity["shard_size"]):
            lines = [json.dumps([unit.item, _stamp(unit.file)]) + "\n" for unit in units]
            digests.append(digest_of([identity, lines]))
            counts.append(sum(unit.count for unit in units))
            (aside / f"{len(digests) - 1:05d}-{digests[-1]}.jsonl").write_text("".join(lines), "utf-8")
        resolved = Path(bundle_path).resolve()
        path = "" if resolved == SHIPPED else str(resolved)
        facts = {"identity": identity, "bundle_path": path, "digests": digests, "counts": counts}
        (aside / _PLAN.name).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    plan = read_plan(folder)
    wanted = {plan.path(shard).name for shard in range(len(plan))}
    for encoded in [*folder.glob(_SHARDS), *folder.glob(_LEFT)]:
        if encoded.name not in wanted:
            encoded.unlink(missing_ok=True)
    return plan


def _divided(units: Iterator[Unit], size: int) -> Iterator[list[Unit]]:
    """Runs of units with `size` cut-outs, or more by less than one unit's."""
    held, count = list[Unit](), 0
    for unit in units:
        held.append(unit)
        count += unit.count
        if count >= size:
            yield held
            held, count = [], 0
    if held:
        yield held


def _stamp(file: Path | None) -> list[int] | None:
    """Size and time of the last change: a file that was changed since is encoded again."""
    try:
        facts = file and file.stat()
    except OSError:
        return None  # reading it says what is wrong
    return [facts.st_size, facts.st_mtime_ns] if facts else None


def read_plan(folder: Path) -> Plan:
    """The plan that a folder of shards holds; `InputError` where there is none."""
    path = folder / _PLAN
    try:
        raw = json.loads(path.read_text("utf-8"))
        plan = Plan(folder, raw["identity"], raw["bundle_path"], raw["digests"], raw["counts"])
        if plan.identity["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is not {FORMAT_VERSION}, delete {folder}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: no plan of shards ({reason}), expected one, an empty folder or none") from None
    return plan


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block in which no other process builds in the folder, which is made.

    Raises:
      InputError: another process does, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another process is building with these shards") from None
        yield
    finally:
        os.close(descriptor)


def has_shards(folder: Path) -> bool:
    """Whether a folder holds an encoded shard."""
    return any(folder.glob(_SHARDS))


def remove_shards(folder: Path) -> None:
    """Deletes what belongs to a build, and the folder where nothing else is in it."""
    shutil.rmtree(folder / _PLAN.parent, ignore_errors=True)
    for path in [*folder.glob(_SHARDS), *folder.glob(_LEFT), folder / _LOCK]:
        with contextlib.suppress(OSError):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
