"""The model bundle: round trip, encoding in batches, and everything that can be wrong with one."""

import copy
import json
import os
import resource
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from fos_jax import images
from fos_jax.encoders import bundle_files
from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, init_foreground, init_query
from fos_jax.encoders.bundle import load_bundle, save_bundle
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import pattern_log_posterior


@pytest.fixture(scope="module")
def parts(config, table):
    return {
        "config": config,
        "table": table,
        "foreground_variables": init_foreground(jax.random.key(0), config, table),
        "query_variables": init_query(jax.random.key(1), config, table),
        "metrics": {"map": 0.5},
    }


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    save_bundle(path, **parts)
    return path


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "bundle")


@pytest.fixture(scope="module")
def bundle(saved):
    return load_bundle(saved)


def _foregrounds(n):
    rng = np.random.default_rng(n)
    return rng.integers(0, 256, (n, 32, 32, 4), np.uint8), rng.integers(0, 2, n)


def _queries(n):
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 0.5, (n, 2))
    box = np.concatenate([corner, corner + 0.4], axis=1).astype(np.float32)
    return rng.integers(0, 256, (n, 32, 32, 3), np.uint8), box, rng.integers(0, 2, n)


def test_round_trip(bundle, parts):
    assert bundle.table == parts["table"]
    assert bundle.metrics == {"map": 0.5}
    assert bundle.config.steps == 3
    assert bundle.config.foreground.dtype == "float32"  # a default that was not given
    assert (bundle.foreground_size, bundle.query_size) == (32, 32)
    assert bundle.has_query_encoder
    expected = {"foreground": parts["foreground_variables"], "query": parts["query_variables"]}
    jax.tree.map(np.testing.assert_array_equal, bundle.variables, expected)


def test_the_directory_says_what_wrote_it(saved):
    names = {p.name for p in saved.iterdir()}
    assert names == {"config.json", "patterns.json", "metrics.json", "versions.json", "manifest.json", "variables"}
    assert {"python", "jax", "flax", "numpy"} <= set(json.loads((saved / "versions.json").read_text()))


def test_encodings_are_those_of_the_encoders(bundle, parts, config, table):
    image, category = _foregrounds(3)
    got = bundle.encode_foregrounds(image, category)
    out = jax.jit(build_foreground_encoder(config, table).apply)(parts["foreground_variables"], image)
    np.testing.assert_allclose(got.embedding, out.embedding, atol=1e-5)
    expected = pattern_log_posterior(out.cosine, category, table.category_of_pattern, scale=16.0)
    np.testing.assert_allclose(got.log_posterior, expected, rtol=1e-4, atol=1e-4)
    image, box, category = _queries(3)
    got = bundle.encode_queries(image, box, category)
    out = jax.jit(build_query_encoder(config, table).apply)(parts["query_variables"], image, box, category)
    np.testing.assert_allclose(got.embedding, out.embedding, atol=1e-5)
    expected = pattern_log_posterior(out.pattern_logits, category, table.category_of_pattern, scale=2.0)
    np.testing.assert_allclose(got.log_posterior_flat, expected, rtol=1e-4, atol=1e-4)


def test_a_bundle_prepares_its_own_inputs(bundle):
    rng = np.random.default_rng(0)
    rgba, photo, rectangle = rng.integers(0, 256, (20, 30, 4), np.uint8), _queries(1)[0][0], (4, 8, 20, 30)
    (image,) = bundle.foreground_inputs(rgba, ("left",))
    np.testing.assert_array_equal(image, images.prepare_cutout(rgba, 32))
    for got, expected in zip(
        bundle.query_inputs(photo, rectangle), images.prepare_query(photo, rectangle, 32), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert bundle.query_window((0, 0, 10, 10), 60, 40) == (0, 0, 40)
    assert bundle.query_window((40, 0, 60, 10), 60, 40) == (20, 0, 40)
    assert (bundle.accepts_any_category, dict(bundle.expert_weights)) == (False, {})
    got = bundle.encode_queries(*(value[None] for value in bundle.query_inputs(photo, rectangle)), np.array([0]))
    assert got.experts == {}
    np.testing.assert_array_equal(got.log_posterior, got.log_posterior_both)


def test_posteriors_sum_to_one_within_the_category(bundle, table):
    image, box, category = _queries(6)
    got = bundle.encode_queries(image, box, category)
    for posterior in (got.log_posterior_flat, got.log_posterior_factorised, got.log_posterior_both):
        np.testing.assert_allclose(np.exp(posterior).sum(1), 1, rtol=1e-5)
        assert np.array_equal(np.isfinite(posterior), category[:, None] == table.category_of_pattern[None, :])


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 9])
def test_padding_of_the_last_batch_reaches_no_row(bundle, n):
    image, category = _foregrounds(n)
    got = bundle.encode_foregrounds(image, category, batch_size=4)
    whole = bundle.encode_foregrounds(image, category, batch_size=16)
    assert got.embedding.shape == (n, 16)
    assert got.log_posterior.shape == (n, 3)
    np.testing.assert_allclose(got.embedding, whole.embedding, atol=1e-5)


def test_prototypes_are_unit(bundle):
    assert bundle.prototypes.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(bundle.prototypes, axis=1), 1, rtol=1e-5)


def test_a_teacher_alone_encodes_no_queries(parts, tmp_path):
    save_bundle(tmp_path / "teacher", **{**parts, "query_variables": None})
    teacher = load_bundle(tmp_path / "teacher")
    assert not teacher.has_query_encoder
    assert teacher.encode_foregrounds(*_foregrounds(2)).embedding.shape == (2, 16)
    with pytest.raises(InputError, match="a foreground encoder alone"):
        teacher.encode_queries(*_queries(2))


def test_without_attributes_there_is_no_factorised_posterior(parts, table, config, tmp_path):
    bare = PatternTable.from_json(
        json.dumps(
            {
                **json.loads(table.to_json()),
                "attributes": {},
                "patterns": [{**p, "attributes": {}} for p in json.loads(table.to_json())["patterns"]],
            }
        )
    )
    query = init_query(jax.random.key(1), config, bare)
    save_bundle(tmp_path / "bare", **{**parts, "table": bare, "query_variables": query})
    got = load_bundle(tmp_path / "bare").encode_queries(*_queries(2))
    assert got.log_posterior_factorised is None
    np.testing.assert_array_equal(got.log_posterior_both, got.log_posterior_flat)


def test_fingerprint_is_of_the_contents(parts, bundle, tmp_path):
    assert save_bundle(tmp_path / "same", **{**parts, "metrics": {"map": 0.9}}) == bundle.fingerprint
    other = jax.tree.map(lambda x: x + 1e-3, parts["query_variables"])
    assert save_bundle(tmp_path / "other", **{**parts, "query_variables": other}) != bundle.fingerprint
    config = {**parts["config"], "query": {**parts["config"]["query"], "flat_scale": 3.0}}
    assert save_bundle(tmp_path / "rescaled", **{**parts, "config": config}) != bundle.fingerprint


# What can be wrong with the arrays.


def _changed(parts, change):
    variables = copy.deepcopy(jax.tree.map(np.asarray, parts["query_variables"]))
    change(variables["params"])
    return {**parts, "query_variables": variables}


def _drop(params):
    del params["pattern"]["kernel"]


def _add(params):
    params["stray"] = {"kernel": np.zeros(2)}


def _misshape(params):
    params["pattern"]["bias"] = np.zeros(7)


WRONG_ARRAYS = [
    (_drop, r"1 missing \(query/params/pattern/kernel\)"),
    (_add, r"1 extra \(query/params/stray/kernel\)"),
    (_misshape, r"1 misshapen \(query/params/pattern/bias \[7\] instead of \[3\]\)"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_ARRAYS)
def test_wrong_arrays_are_not_saved(parts, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        save_bundle(tmp_path / "wrong", **_changed(parts, change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("change", "message"), WRONG_ARRAYS)
def test_wrong_arrays_are_not_loaded(parts, tmp_path, monkeypatch, change, message):
    with monkeypatch.context() as patch:  # as another version of this library might have written it
        patch.setattr(bundle_files, "check_arrays", lambda *args: None)
        save_bundle(tmp_path / "wrong", **_changed(parts, change))
    with pytest.raises(InputError, match=message) as error:
        load_bundle(tmp_path / "wrong")
    assert str(tmp_path / "wrong") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_config_of_another_model_is_refused(copied):
    config = json.loads((copied / "config.json").read_text())
    config["foreground"]["embedding_size"] = 8
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"misshapen .*foreground/params/embedding/bias \[16\] instead of \[8\]"):
        load_bundle(copied)


def test_a_pattern_table_of_another_model_is_refused(copied):
    table = json.loads((copied / "patterns.json").read_text())
    table["patterns"].append({**table["patterns"][2], "id": 3, "mirror": 3})
    (copied / "patterns.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match="misshapen"):
        load_bundle(copied)


def test_an_edited_config_is_noticed(copied):
    config = json.loads((copied / "config.json").read_text())
    config["query"]["flat_scale"] = 9.0
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="changed after it was written"):
        load_bundle(copied)


# What can be wrong with the files.


@pytest.mark.parametrize("name", ["config.json", "patterns.json", "metrics.json", "manifest.json"])
@pytest.mark.parametrize("contents", [None, b"", b'{"a": ', b"\xff\xfe\x00", b"[1, 2]"])
def test_damaged_json_is_named(copied, name, contents):
    (copied / name).unlink()
    if contents is not None:
        (copied / name).write_bytes(contents)
    with pytest.raises(InputError, match=name) as error:
        load_bundle(copied)
    assert "\n" not in str(error.value)


def test_a_missing_directory_and_a_missing_checkpoint_are_named(copied, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such directory"):
        load_bundle(tmp_path / "nowhere")
    shutil.rmtree(copied / "variables")
    with pytest.raises(InputError, match="variables: no such directory"):
        load_bundle(copied)


def test_another_format_version_is_refused(copied):
    (copied / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(InputError, match="format_version is 99, expected 1"):
        load_bundle(copied)


def _data_files(directory):
    return sorted(p for p in (directory / "variables").rglob("*") if p.is_file() and p.stat().st_size > 0)


# Orbax leaves futures behind when a read fails; Python reports them as "unraisable" long after the error was raised.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_truncated_checkpoint_is_refused_whichever_file_it_is(saved, tmp_path):
    """Or loads with the very same arrays, where the file is not one that is needed."""
    fingerprint = load_bundle(saved).fingerprint
    refused = []
    for index, path in enumerate(_data_files(saved)):
        copy_of = shutil.copytree(saved, tmp_path / str(index))
        victim = copy_of / path.relative_to(saved)
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
        try:
            assert load_bundle(copy_of).fingerprint == fingerprint
        except InputError as error:
            refused.append(str(error).replace(str(copy_of), "BUNDLE"))
    assert len(refused) >= 2
    assert all("BUNDLE" in message and "\n" not in message for message in refused)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_never_loads_as_other_weights(copied, saved):
    largest = max(_data_files(copied), key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 0x10
    largest.write_bytes(data)
    with pytest.raises(InputError):
        load_bundle(copied)


# What can go wrong while saving.


def test_a_full_disk_leaves_the_previous_bundle(parts, copied, monkeypatch):
    before = load_bundle(copied).fingerprint

    def full(*args):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(bundle_files, "_write_json", full)
    other = jax.tree.map(lambda x: x + 1, parts["query_variables"])
    with pytest.raises(InputError, match="No space left on device"):
        save_bundle(copied, **{**parts, "query_variables": other})
    assert [p.name for p in copied.parent.iterdir()] == ["bundle"]
    assert load_bundle(copied).fingerprint == before


_SAVE_WITH_SMALL_FILES = """
import resource, signal, sys
import jax
from fos_jax.encoders.bundle import load_bundle, save_bundle
bundle = load_bundle(sys.argv[1])
other = jax.tree.map(lambda x: x + 1, bundle.variables)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
save_bundle(sys.argv[1], config=bundle.config, table=bundle.table,
            foreground_variables=other["foreground"], query_variables=other["query"])
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_write_that_the_system_refuses_leaves_the_previous_bundle(copied):
    """The storage layer below Orbax itself fails here, not a stand-in."""
    before = load_bundle(copied).fingerprint
    done = subprocess.run(
        [sys.executable, "-c", _SAVE_WITH_SMALL_FILES, str(copied)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    # Threads of the storage layer may print after the exception, so it need not be the last line.
    [error] = [line for line in done.stderr.splitlines() if line.startswith("fos_jax.errors.InputError")]
    assert "File too large" in error
    assert [p.name for p in copied.parent.iterdir()] == ["bundle"]
    assert load_bundle(copied).fingerprint == before


# What can be wrong with what is to be encoded.


def test_wrong_foregrounds_are_refused(bundle):
    image, category = _foregrounds(2)
    with pytest.raises(InputError, match=r"image: uint8 \[2, 32, 32, 3\], expected uint8 \[n, 32, 32, 4\]"):
        bundle.encode_foregrounds(image[..., :3], category)
    with pytest.raises(InputError, match="image: float32"):
        bundle.encode_foregrounds(image.astype(np.float32), category)
    with pytest.raises(InputError, match="category: 0 to 2, expected class ids from 0 to 1"):
        bundle.encode_foregrounds(image, np.array([0, 2]))
    with pytest.raises(InputError, match=r"category: int64 \[3\], expected integers \[2\]"):
        bundle.encode_foregrounds(image, np.array([0, 1, 1]))
    with pytest.raises(InputError, match="batch_size: 0"):
        bundle.encode_foregrounds(image, category, batch_size=0)


@pytest.mark.parametrize(
    "box", [[np.nan, 0, 1, 1], [0.5, 0, 0.5, 1], [0.6, 0, 0.5, 1], [-0.1, 0, 1, 1], [0, 0, 1, 1.5]]
)
def test_wrong_rectangles_are_refused(bundle, box):
    image, boxes, category = _queries(2)
    boxes[1] = box
    with pytest.raises(InputError, match="box_yxyx_norm: row 1 is"):
        bundle.encode_queries(image, boxes, category)


def test_relative_path(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    assert load_bundle(saved.name).fingerprint == load_bundle(saved).fingerprint
