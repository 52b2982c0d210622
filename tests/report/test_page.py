"""The report page: self-contained, escaped, and it shows what it was given."""

import base64
import html.parser
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.report.contents import (
    Curve,
    CurvePanel,
    Example,
    Figure,
    Hit,
    MapPanel,
    MetricRow,
    PatternRow,
    Report,
)
from fos_jax.report.page import render_report, value_colour, write_report
from fos_jax.report.pictures import curves_svg, data_uri, smoothed


def picture(seed: int, channels: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, channels), np.uint8)


def pattern_row(seed: int, is_compatible: bool) -> PatternRow:
    return PatternRow(
        name="front, from above",
        attributes={"yaw": "front", "light": "left"},
        fitting_values={"yaw": frozenset({"front", "back"}), "light": frozenset({"right"})},
        posterior=0.4375,
        is_compatible=is_compatible,
        hits=[Hit(f"fg{i}", picture(seed + i, 4), 0.5 - i / 10, i == 0) for i in range(3)],
        composite=picture(seed, 3),
        why="Its yaw <front> fits.",
    )


def small_report(**changes) -> Report:
    values = {
        "title": "Report of <a test> & more",
        "headline": [("77.0", "mAP in %")],
        "summary": "Two words.",
        "columns": ["mAP", "P@10"],
        "rows": [
            MetricRow("student", "both", "ours", "", {"mAP": Figure(0.77, 0.75, 0.79), "P@10": Figure(0.8)}),
            MetricRow("rectangle only", "", "control", "sees no picture", {"mAP": Figure(0.2)}),
        ],
        "breakdowns": {"mAP by category": [("car", Figure(0.7))]},
        "examples": [
            Example("q1", "car", picture(1, 3), (0.25, 0.5, 0.75, 1.0), "yaw front or back", [pattern_row(5, True)])
        ],
        "curves": [CurvePanel("Teacher", "loss", [Curve("train", [1, 2, 3], [3.0, 2.0, 1.0])])],
        "maps": [
            MapPanel(
                "car",
                np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.25]], np.float32),
                np.array([False, False, True]),
                {"yaw": np.array([0, 1, -1])},
                {"yaw": ("front", "back")},
            )
        ],
        "stages": [("pretrain", 90.0, "600 steps"), ("distil", 30.4, "")],
        "facts": [("commit", "abc123")],
        "notes": ["Standard convention."],
        "commands": [("At instance level", "fos search --photo=street.jpg")],
    }
    return Report(**{**values, **changes})


class Outline(html.parser.HTMLParser):
    """Collects tags and what they refer to; checks that what is opened is closed."""

    VOID = frozenset({"meta", "img", "br", "input", "link", "path", "circle", "use", "line", "rect"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.references, self.ids = [], [], [], []

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def note(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_page_is_well_formed_and_loads_nothing():
    page = render_report(small_report())
    parsed = outline(page)
    assert "script" not in parsed.tags
    assert "link" not in parsed.tags
    assert parsed.references
    assert all(reference.startswith(("data:image/", "#")) for reference in parsed.references)
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert len(parsed.ids) == len(set(parsed.ids)), "an id stands twice"
    assert {reference[1:] for reference in parsed.references if reference.startswith("#")} <= set(parsed.ids)


def test_page_escapes_what_it_is_given():
    page = render_report(small_report())
    assert "Report of &lt;a test&gt; &amp; more" in page
    assert "<a test>" not in page
    assert "Its yaw &lt;front&gt; fits." in page


def test_page_shows_the_figures():
    page = render_report(small_report())
    assert "<td>77.0<small>75.0 to 79.0</small></td>" in page
    assert page.count("not run") == 1  # P@10 of the rectangle
    assert "left:50.00%;top:25.00%;width:50.00%;height:50.00%" in page  # the rectangle, from yxyx fractions
    assert "43.8 %</span>" in page
    assert "120 s" in page


def test_right_and_wrong_differ_by_sign_and_words():
    page = render_report(small_report())
    (article,) = re.findall(r"<article.*?</article>", page, re.DOTALL)
    assert article.count('<li class="hit yes"') == 1
    assert article.count('<li class="hit"') == 2
    assert article.count('aria-label="does not fit"') == 2
    assert "✓ yaw: front" in article
    assert "✗ light: left" in article
    assert 'aria-label="This pattern fits"' in article
    wrong = render_report(
        small_report(examples=[Example("q", "car", picture(1, 3), (0, 0, 1, 1), "", [pattern_row(5, False)])])
    )
    assert 'aria-label="This pattern does not fit"' in wrong


def test_map_points_carry_the_classes_of_their_values():
    page = render_report(small_report())
    assert '<circle class="a0v0" cx="0.0" cy="0.0"' in page
    assert '<circle class="a0v1" cx="100.0" cy="100.0"' in page
    assert '<path class="" d="M50.0 25.0' in page
    assert f".map:has(#by-0:checked) .a0v1 {{ --c: {value_colour(1, 2)}; }}" in page


@pytest.mark.parametrize("empty", ["examples", "curves", "maps", "commands", "stages", "headline"])
def test_parts_can_be_absent(empty):
    page = render_report(small_report(**{empty: []}))
    parsed = outline(page)
    assert {reference[1:] for reference in parsed.references if reference.startswith("#")} <= set(parsed.ids)


def test_page_is_the_same_for_the_same_contents():
    assert render_report(small_report()) == render_report(small_report())


def test_write_replaces_the_page_whole(tmp_path, monkeypatch):
    path = write_report(small_report(), tmp_path / "report" / "index.html")
    before = path.read_text()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(InputError, match="disk"):
        write_report(small_report(title="other"), path)
    assert path.read_text() == before


@pytest.mark.parametrize("channels", [3, 4])
def test_data_uri_holds_the_picture(channels):
    image = np.full((8, 12, channels), 200, np.uint8)
    uri = data_uri(image)
    assert uri.startswith("data:image/webp;base64,")
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    assert back.shape[:2] == (8, 12)
    assert np.abs(back[..., :3].astype(int) - 200).max() <= 3


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_data_uri_refuses_other_arrays(bad):
    with pytest.raises(ValueError, match="expected uint8"):
        data_uri(bad)


def test_smoothed_by_hand():
    assert smoothed([1, 2, 6, 3], window=3).tolist() == [1.5, 3.0, 11 / 3, 4.5]
    assert smoothed([1, np.nan, 5], window=3).tolist() == [1, 3, 5]
    assert smoothed([4.0, 5.0], window=1).tolist() == [4.0, 5.0]
    assert smoothed([], window=3).size == 0


def test_curves_use_the_colours_of_the_page():
    svg = curves_svg(CurvePanel("A b", "loss", [Curve("train", [1, 2], [1.0, 0.5]), Curve("val", [2], [0.6], True)]))
    assert svg.startswith("<svg")
    assert "var(--series-1)" in svg
    assert "var(--series-2)" in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#0[0-9a]0[1-6]0[1-6]", svg)
    assert not re.search(r"<svg[^>]* width=", svg)


def test_map_is_coloured_by_attribute_place_where_names_differ():
    point = np.zeros((1, 2), np.float32)
    panels = [
        MapPanel("car", point, np.array([False]), {"yaw": np.array([1])}, {"yaw": ("front", "back_left")}),
        MapPanel("cup", point, np.array([False]), {"pose": np.array([2])}, {"pose": ("a", "b", "c")}),
    ]
    page = render_report(small_report(maps=panels))
    assert re.findall(r'id="by-(\d)"[^>]*>([^<]*)</label>', page) == [("0", "yaw or pose")]
    assert f".map:has(#by-0:checked) .a0v2 {{ --c: {value_colour(2, 3)}; }}" in page
    assert "back left" in page
    assert "back_left" not in page
