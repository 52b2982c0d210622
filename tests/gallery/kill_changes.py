"""Kills children at random moments of changing a gallery; a program of its own, so that starting a child is a fork.

Each child tells a pipe what it is about to do and, after the call returned, that it is done. After each kill the parent
opens and verifies the gallery: what was told done is there, what was begun is there whole or not at all.

  python kill_changes.py FOLDER SEED KILLS
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from small_gallery import create, make, png_of, vectors_of

from fos_jax.gallery import writer
from fos_jax.gallery.compaction import compact
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.verification import verify_gallery
from fos_jax.gallery.writer import GalleryWriter

writer.MOST_RECENT = 6  # so that segments of added foregrounds are killed too


def child(path: Path, state: dict[str, str], rng: random.Random, pipe: int) -> None:
    """Changes the gallery until it is killed. state: id -> look, as the parent knows it."""
    held = dict(state)
    with GalleryWriter(path) as changes:
        for number in range(10_000):
            action = rng.choices(["add", "replace", "remove", "compact"], [5, 2, 3, 2])[0]
            some = rng.sample(sorted(held), min(len(held), rng.randint(1, 4)))
            if action == "add" or (action != "compact" and not some):
                action, some = "add", [f"{os.getpid()}-{number}-{i}" for i in range(rng.randint(1, 9))]
            look = str(rng.random())
            after = dict(held)
            if action == "remove":
                after = {i: of for i, of in held.items() if i not in some}
            elif action != "compact":
                after |= dict.fromkeys(some, look)
            os.write(pipe, (json.dumps({"begun": action, "state": after}) + "\n").encode())
            if action == "compact":
                compact(path)
            elif action == "remove":
                changes.remove(some)
            else:
                getattr(changes, action)([make(some, look=look)])
            os.write(pipe, b'{"done": 1}\n')
            held = after


def look_of(path: Path, looks: dict[str, set[str]]) -> dict[str, str]:
    """id -> look of what the gallery holds, after everything of it was checked."""
    findings = verify_gallery(path)
    assert not findings, findings
    with contextlib.closing(Gallery.open(path)) as gallery:
        state, held = gallery.snapshot(), {}
        for row in state.live_rows.tolist():
            identifier = state.value("id", row)
            assert state.row_of(identifier) == row
            embedding, picture = state.embeddings([row])[0], state.picture(row, "cutout")
            assert state.picture(row, "thumbnail")
            (held[identifier],) = (
                look
                for look in looks[identifier]
                if picture == png_of(identifier + look, "cutout")
                and (embedding == vectors_of(identifier + look)[0]).all()
            )
        return held


def main() -> None:
    path, seed, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    create(path, [make(["first"])])
    held, looks = {"first": ""}, {"first": {""}}
    during: Counter[str] = Counter()
    acknowledged = 0
    for _ in range(kills):
        reading, writing = os.pipe()
        seed_of_child = rng.random()
        pid = os.fork()
        if not pid:
            os.close(reading)
            child(path, held, random.Random(seed_of_child), writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            lines = [pipe.readline() for _ in range(rng.choice([1, 1, 3, 5, 7]))]  # the last has just begun
            time.sleep(rng.uniform(0, 0.06))
            os.kill(pid, signal.SIGKILL)
            lines += pipe.readlines()
        os.waitpid(pid, 0)
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        begun = None
        for line in told:
            if "begun" in line:
                begun = line
                for identifier, look in line["state"].items():
                    looks.setdefault(identifier, set()).add(look)
            else:
                held, begun = begun["state"], None
                acknowledged += 1
        during[begun["begun"] if begun else "between"] += 1
        found = look_of(path, looks)
        assert found == held or (begun and found == begun["state"]), (begun, held, found)
        held = found
    compact(path)
    assert look_of(path, looks) == held
    assert len(list((path / "segments").iterdir())) == 1
    print(json.dumps({"kills": kills, "during": during, "acknowledged": acknowledged, "held": len(held)}))


if __name__ == "__main__":
    main()
