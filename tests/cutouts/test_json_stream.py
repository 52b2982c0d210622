import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.cutouts.sources import reading
from fos_jax.cutouts.sources.reading import stream_entries
from fos_jax.errors import InputError

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def _collect(path, **options):
    result = {}
    for key, index, entry in stream_entries(path, **options):
        if index < 0:
            result[key] = entry
        else:
            assert index == len(result[key])
            result[key].append(entry)
    return result


def test_values_and_entries_in_order(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        '\ufeff {"info": {"a": [1]}, "images": [ {"id": 1} , 2.5e3, "x" ], "none": [], "n": -12}\n ', "utf-8"
    )
    assert list(stream_entries(path)) == [
        ("info", -1, {"a": [1]}),
        ("images", -1, []),
        ("images", 0, {"id": 1}),
        ("images", 1, 2500.0),
        ("images", 2, "x"),
        ("none", -1, []),
        ("n", -1, -12),
    ]


@given(value=st.dictionaries(st.text(max_size=5), _JSON, max_size=5), block=st.integers(1, 9), indent=st.booleans())
def test_any_object_in_blocks_of_any_size(tmp_path_factory, value, block, indent):
    path = tmp_path_factory.mktemp("j") / "a.json"
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2 if indent else None), "utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK_CHARS", block)
        assert _collect(path) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected one JSON object"),
        ("[]", "expected one JSON object"),
        ("{", "near character"),
        ('{"a": 1', "expected a comma"),
        ('{"a": [1, 2', "expected a comma"),
        ('{"a": [1, 2}', "expected a comma"),
        ('{"a" 1}', "colon"),
        ("{1: 2}", "key in quotes"),
        ('{"a": 1} x', "nothing after"),
        ('{"a": 1, "a": 2}', "there twice"),
        ('{"a": [nonsense]}', "Expecting value"),
        ('{"a": ' + "[" * 100_000 + "}", "recursion"),
        ('{"a": [' + '{"b":' * 100_000 + "]}", "recursion"),
        ('{"a": ' + "1" * 5000 + "}", "digits"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, reason):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        list(stream_entries(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_utf8_and_missing(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes('{"name": "Ü"}'.encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        list(stream_entries(path))
    with pytest.raises(InputError, match="cannot be read"):
        list(stream_entries(tmp_path / "none.json"))
    with pytest.raises(InputError, match="cannot be read"):
        list(stream_entries(tmp_path))


def test_an_endless_entry_is_refused_before_it_fills_memory(tmp_path):
    path = tmp_path / "long.json"
    path.write_text('{"a": ["' + "x" * 5000 + '"]}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK_CHARS", 100)
        with pytest.raises(InputError, match="longer than 1,000 characters"):
            list(stream_entries(path, max_entry_chars=1000))
        assert _collect(path, max_entry_chars=10_000) == {"a": ["x" * 5000]}
