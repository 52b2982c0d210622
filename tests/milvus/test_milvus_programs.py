"""The programs that copy a gallery into Milvus and search it there."""

import json
import subprocess
import sys
from pathlib import Path

from fake_bundle import FakeExperts, build_from, disc
from PIL import Image

from fos_jax.gallery.sources import CutoutRecord

_PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fake_bundle import FakeExperts
import fos_jax.experts.loading
fos_jax.experts.loading.load = lambda path: FakeExperts()
from absl import flags
from fos_jax.__main__ import main
for words in {arguments!r}:
    sys.argv = ["fos", *words]
    try:
        main()
    except SystemExit as end:
        print("code", end.code or 0, flush=True)
    flags.FLAGS.unparse_flags()
"""


def fos(*commands):
    """Runs one program several times in one process; the outputs, which end with codes, and the errors."""
    arguments = [[str(word) for word in words] for words in commands]
    program = _PROGRAM.format(tests=str(Path(__file__).parents[1] / "gallery"), arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if line.startswith("error")]


def test_a_gallery_is_pushed_and_searched(milvus_lite, tmp_path):
    records = [CutoutRecord(f"car{i}", "car", disc((250 - 25 * i, 0, 25 * i + 5))) for i in range(9)]
    (tmp_path / "b").mkdir()
    build_from(records, tmp_path / "g", FakeExperts())
    Image.new("RGB", (60, 40), (250, 0, 5)).save(tmp_path / "p.png")
    uri, gallery = f"--uri={tmp_path / 'lite.db'}", f"--gallery={tmp_path / 'g'}"
    bundle = f"--bundle={tmp_path / 'b'}"
    query = ["--photo", tmp_path / "p.png", "--box=10,5,30,25", "--category=car", "--k=3", "--json", bundle]
    push = ["gallery", "push", gallery, uri]
    output, errors = fos(push, push, [*push, "--collection=other", "--index=SCANN"])
    first, second, refused = output.split("code 0\n")
    assert first.startswith("9 written, 0 were there, 0 removed\nindex FLAT")
    assert second.startswith("0 written, 9 were there, 0 removed")
    assert refused == "code 2\n"
    assert errors[0].endswith("Milvus Lite accepts it and does not build it, expected FLAT or HNSW there")
    output, errors = fos(
        ["search", "--backend=milvus", uri, *query],
        ["search", "--backend=exact", gallery, *query],
        ["search", gallery, *query],
        ["search", "--backend=milvus", *query],
        ["search", gallery, uri, *query],
        ["search", "--backend=milvus", uri, "--collection=other", *query],
    )
    lists = [[(hit["id"], hit["why"]) for hit in json.loads(text)["hits"]] for text in output.split("code 0\n")[:3]]
    assert lists[0] == lists[1] == lists[2]
    assert len(lists[0]) == 3
    assert output.count("code 2") == 3
    assert errors[0] == "error: --uri: missing (--help explains)"
    assert errors[1] == "error: --uri: is not for --backend=segments, expected --gallery alone"
    assert errors[2].endswith("no collection other_files there; fos gallery push makes it")
