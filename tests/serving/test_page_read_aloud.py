"""A whole task on the search page as a screen reader tells it: keys alone, and nothing but the accessibility tree."""

import time

from page_gallery import downloaded, needs_chromium, open_and_draw, results, wait
from page_reader import Reader, spoken, value

pytestmark = needs_chromium
CONTROLS = (
    *("button", "link", "combobox", "checkbox", "radio", "slider", "spinbutton", "textbox", "tab"),
    *("application", "dialog"),
)
RECTANGLE = "Arrows move it, Shift with arrows resizes it, Enter goes to the results."
FOREGROUND = "Arrows move it, plus and minus scale it, M mirrors, Delete removes, Escape is done."
FOUND = "says: 2 patterns found, the likeliest: facing left, 67 %."
SHEET = "group, Photograph street.png, 640 × 420 px. Enter sets a rectangle or goes to it."
SEARCHED = "performance.getEntriesByName('fos:results').length === {}"


def tell(reader, *keys, held="", until="true", says=0):
    """What is heard after keys, as soon as a condition holds and so many texts were said."""
    reader.page.press(*keys, held=held)
    reader.page.until(f"window.spoken.length >= {says} && ({until})")
    return reader.heard()


def unnamed(reader):
    return [spoken(node) for node in reader.tree() if value(node, "role") in CONTROLS and not value(node, "name")]


def test_a_task_read_aloud(page, photograph, downloads):
    keys, reader = page.keys, Reader(page)
    assert reader.outline() == [
        "heading 1, Foreground search",
        "navigation, Views",
        "region, Photograph",
        "heading 2, Which one fits here?",
        "region, Search",
        "heading 2, Search",
        "tablist, Panel",
        "tabpanel, Results",
        "heading 2, How it goes",
    ]
    page.open_file(photograph)
    page.until("document.activeElement.id === 'sheet'")
    assert tell(reader, says=1) == ["says: Opened street.png, 640 × 420 pixels.", SHEET]

    # Rectangle and category.
    heard = tell(reader, keys.ENTER, says=1)
    assert heard == [FOUND, SHEET, f"rectangle, Rectangle, 192 × 168 px at 224, 168, {RECTANGLE}"]
    heard = tell(reader, keys.ARROW_RIGHT, keys.ARROW_RIGHT, says=2)
    assert heard == [
        "says: 192 × 168 px at 236, 168.",
        FOUND,
        f"rectangle, Rectangle, 192 × 168 px at 236, 168, {RECTANGLE}",
    ]
    assert reader.outline()[2:] == [
        "region, Photograph",
        "region, Search",
        "heading 2, Search",
        "tablist, Panel",
        "tabpanel, Results",
        "heading 3, Facing left",
        "list, Facing left",
        "heading 3, Facing right",
        "list, Facing right",
    ]
    assert tell(reader, keys.TAB) == ["combobox, Category, Car, collapsed"]
    heard = tell(reader, keys.ARROW_DOWN, says=1)
    assert heard == [FOUND, "combobox, Category, Chair, collapsed"]
    tell(reader, keys.ARROW_UP, says=1)

    # Patterns and instances; one is kept.
    tell(reader, keys.ENTER, held=keys.CONTROL)
    assert tell(reader, keys.ENTER) == [
        "list, Facing left",
        "button, Place 1. left-5, facing left, 90 × 80 px, CC BY",
    ]
    assert tell(reader, keys.ARROW_RIGHT) == ["button, Place 2. left-4, facing left, 90 × 76 px, CC0"]
    second = "button, Place 2. right-1, facing right, 90 × 64 px, CC BY"
    assert tell(reader, keys.ARROW_DOWN) == ["list, Facing right", second]
    assert tell(reader, keys.ENTER, until="document.querySelector('.hit.kept')", says=1) == [
        "says: Kept Car, facing right.",
        f"{second}, kept",
    ]

    # The reasons, undo, what is kept, download.
    why, panel = tell(reader, "w", until="document.querySelector('#why-attributes')", says=1)
    assert why.startswith("says: Most probably “car, facing left” (67 %): facing left 67 %.")
    assert panel == "tabpanel, Why"
    assert tell(reader, "z", held=keys.CONTROL, says=1) == [
        "says: Undone: rectangle 192 × 168 px at 236, 168; nothing kept."
    ]
    kept = "kept: Car, facing right, 192 × 137 px at 236, 199"
    assert tell(reader, "y", held=keys.CONTROL, says=1) == [
        f"says: Done again: rectangle 192 × 168 px at 236, 168; {kept}."
    ]
    page.click(".layer-name")
    page.ask("document.querySelector('.frame.foreground').focus()")
    assert tell(reader)[-1] == f"foreground, Kept: right-1, 192 × 137 px at 236, 199, {FOREGROUND}"
    assert tell(reader, keys.ARROW_UP, says=1)[0] == "says: 192 × 137 px at 236, 193."
    assert tell(reader, "m", says=1)[0] == "says: Mirrored: Car, facing left."
    assert unnamed(reader) == []
    heard = tell(reader, "s", held=keys.CONTROL)
    assert heard[:1] == ["dialog, Download"]
    assert heard[1].startswith("button, Photograph with the foregrounds, PNG 640 × 420 px")
    assert unnamed(reader) == []
    page.press(keys.ENTER)
    downloaded(downloads, "street-composite.png")
    heard = tell(reader, says=2)
    assert heard[:2] == ["says: Making the picture at full size…", "says: Saved street-composite.png."]
    assert heard[-1].startswith("foreground, Kept: right-1, mirrored, 192 × 137 px at 236, 193")


def test_no_chatter_and_no_focus_lost(page, photograph, tmp_path):
    keys, reader = page.keys, Reader(page)
    open_and_draw(page, photograph)
    tell(reader, says=2)
    page.drag((0.4, 0.6), (0.6, 0.65), steps=30)
    page.until(SEARCHED.format(2))
    time.sleep(0.3)
    said = [text for text in tell(reader) if text.startswith("says")]
    assert len(said) == 1

    def go(selector, *pressed):
        page.ask(f"document.querySelector({selector!r}).focus()")
        return tell(reader, *pressed)

    # What had the focus is gone afterwards: something near has it.
    page.click("#filters")
    page.find("[name=min_side_px]").send_keys("5000", keys.ENTER)
    page.until("document.querySelector('#relax')")
    go("#relax", keys.ENTER)
    wait(lambda: page.focused() == "hit")
    results(page)
    go(".row .hit", keys.ENTER)
    page.until("document.activeElement.matches('.hit.kept')")
    go("#layerbar .remove", keys.ENTER)
    wait(lambda: page.focused() == "panel")
    go("#tab-why", keys.ENTER)
    page.until("document.querySelector('#show-evidence')")
    page.ask("document.querySelector('#show-evidence').focus()")
    heard = tell(reader, keys.ENTER, until="document.activeElement.matches('#evidence canvas')")
    assert "says: Covering the photograph part by part…" in heard
    assert heard[-1] == "image, The photograph, red where it speaks for this car, blue where against it"

    # An error is told at once.
    (tmp_path / "notes.txt").write_text("no picture")
    page.open_file(tmp_path / "notes.txt")
    assert tell(reader, says=1) == ["says: notes.txt is no photograph: open a JPEG, PNG or WebP file."]
