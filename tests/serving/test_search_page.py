"""The search page in a real headless Chromium, on a service over a gallery whose answers are known by heart.

Needs Debian's chromium and chromium-driver (or others of the same version on the path).
"""

import json

import numpy as np
import pytest
from page_gallery import HEIGHT, WIDTH, downloaded, needs_chromium, open_and_draw, results, serving, wait
from PIL import Image

from fos_jax.images import read_cutout, read_image

pytestmark = needs_chromium


def ids(page, row=0):
    script = (
        "[...document.querySelectorAll('.row')].map((r) => [...r.querySelectorAll('.hit')].map((h) => h.dataset.id))"
    )
    return page.ask(script)[row]


def rows(page):
    return page.ask("[...document.querySelectorAll('.row h3')].map((node) => node.textContent)")


def visible(page, box):
    """Whether anything is drawn over the photograph, in the middle of a box of its pixels."""
    script = """
      const [x, y] = arguments;
      const canvas = document.querySelector('#overlay');
      return canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3] > 0;
    """
    x, y = (box[0] + box[2]) / 2 / WIDTH, (box[1] + box[3]) / 2 / HEIGHT
    return page.browser.execute_script(script, x, y)


def test_from_a_photograph_to_the_downloads(page, photograph, downloads):
    open_and_draw(page, photograph)
    box = page.state()["box"]
    assert np.abs(np.array(box) - (0.3 * WIDTH, 0.4 * HEIGHT, 0.6 * WIDTH, 0.8 * HEIGHT)).max() <= 2
    assert rows(page) == ["Facing left", "Facing right"]
    assert page.said().startswith("2 patterns found, the likeliest: facing left, 6")
    assert page.ask("performance.getEntriesByName('fos:results').length") >= 1

    # What the pointer is on is in the photograph at once, and gone with the pointer.
    assert not visible(page, box)
    page.hover(".row .hit")
    page.until("document.querySelector('#detail strong').textContent.startsWith('left-')")
    wait(lambda: visible(page, box))
    page.hover("header h1")
    wait(lambda: not visible(page, box))

    # Another pattern by a switch, and back by undo.
    page.click("[data-attribute=yaw]")
    page.until("document.querySelectorAll('.row').length === 1")
    assert rows(page) == ["Facing right"]
    page.click("#undo")
    page.until("document.querySelectorAll('.row').length === 2")

    # A filter.
    page.click("#filters")
    page.click("[name=licences][value=CC0]")
    page.until("document.querySelector('#filters .count')?.textContent === '1'")
    results(page)
    assert set(ids(page)) == {"left-0", "left-2", "left-4"}
    page.click("#filters")

    # Keep, drag, mirror, undo.
    page.click(".row .hit")
    page.until("document.querySelector('.layer')")
    page.until("document.querySelector('.hit.kept')")
    (layer,) = page.state()["layers"]
    assert layer["foreground"] == ids(page)[0]
    centre = [(layer["box"][0] + layer["box"][2]) / 2 / WIDTH, (layer["box"][1] + layer["box"][3]) / 2 / HEIGHT]
    page.drag(centre, (centre[0] + 0.2, centre[1] - 0.1))
    moved = page.state()["layers"][0]["box"]
    assert abs(moved[0] - layer["box"][0] - 0.2 * WIDTH) < 4
    assert abs(moved[1] - layer["box"][1] + 0.1 * HEIGHT) < 4
    assert page.state()["box"] == box
    page.click("#mirror")
    assert page.state()["layers"][0]["attributes"] == {"yaw": "right"}
    assert "facing right" in page.ask("document.querySelector('.layer').textContent")
    page.click("#undo")
    assert page.state()["layers"][0]["attributes"] == {"yaw": "left"}
    assert page.state()["layers"][0]["box"] == moved

    # A second rectangle holds a second one; another result takes its place; they change their order.
    page.drag((0.05, 0.1), (0.2, 0.35))
    results(page)
    page.click(".row .hit")
    page.until("document.querySelectorAll('.layer').length === 2")
    page.click(".row li:nth-child(2) .hit")
    page.until(f"document.querySelector('.layer small').textContent.startsWith('{ids(page)[1]}')")
    assert [one["foreground"] for one in page.state()["layers"]] == [layer["foreground"], ids(page)[1]]
    page.click("[aria-label^='Backward: ']")
    assert [one["foreground"] for one in page.state()["layers"]] == [ids(page)[1], layer["foreground"]]
    page.click("[aria-label^='Remove: ']:not(:disabled)")
    page.until("document.querySelectorAll('.layer').length === 1")

    # All of it is there after a reload, the history too.
    before = page.state()
    page.open()
    results(page)
    assert page.state() == before
    page.click("#undo")
    page.until("document.querySelectorAll('.layer').length === 2")
    wait(lambda: visible(page, moved))

    # Downloads.
    boxes = [one["box"] for one in page.state()["layers"]]
    page.click("#download")
    page.click("#save-png")
    composite = read_image(downloaded(downloads, "street-composite.png"))
    original = read_image(photograph)
    assert composite.shape == original.shape
    changed = np.argwhere((composite != original).any(axis=-1))
    x, y = (boxes[1][0] + boxes[1][2]) / 2, (boxes[1][1] + boxes[1][3]) / 2
    assert (composite[round(y), round(x)] != original[round(y), round(x)]).any()
    assert len(changed) < 0.5 * WIDTH * HEIGHT
    page.click("#download")
    page.click("#save-layer")
    layers = read_cutout(downloaded(downloads, "street-layer.png"))
    assert layers.shape == (HEIGHT, WIDTH, 4)
    assert layers[0, -1, 3] == 0
    assert layers[round(y), round(x), 3] == 255
    page.click("#download")
    page.click("#save-json")
    choice = json.loads(downloaded(downloads, "choice.json").read_text())
    assert choice["photograph"] == {**choice["photograph"], "name": "street.png", "width": WIDTH, "height": HEIGHT}
    assert [one["box"] for one in choice["layers"]] == boxes
    assert choice["query"]["filters"] == {"licences": ["CC0"]}


def test_reasons_more_like_this_and_the_atlas(page, photograph):
    open_and_draw(page, photograph)
    page.click(".row-facts button")
    page.until("document.querySelector('#why-attributes .own')")
    assert page.ask("document.querySelector('#why h2').textContent") == "Facing left"
    assert "facing left" in page.ask("document.querySelector('#why-attributes .own').textContent")
    page.until("document.querySelectorAll('.members img').length === 6")
    assert page.axe() == []
    page.click("#show-evidence")
    page.until("document.querySelector('#evidence canvas')")
    page.click("#tab-results")
    page.hover(".row .hit")
    page.click(".row .similar")
    page.until("document.querySelector('#back')")
    assert page.ask("document.querySelectorAll('#results .hit').length") >= 5
    page.click("#back")
    results(page)
    page.click("#view-atlas")
    page.until("document.querySelectorAll('.atlas-inside .hit').length === 6")
    assert page.ask("[...document.querySelectorAll('.patterns b')].map((b) => b.firstChild.textContent)") == ["6", "6"]
    page.until("document.querySelectorAll('.mark').length === 2")
    page.click(".patterns li:nth-child(2) button")
    page.until("document.querySelector('.atlas-inside .hit').title.startsWith('right-')")
    page.click(".atlas-inside .hit")
    page.until("document.querySelector('.layer')")
    assert page.state()["layers"][0]["foreground"].startswith("right-")


def stub(page, script):
    """Puts something before the page's requests: `script` gets `path` and `real`, what would answer."""
    page.browser.execute_script(
        "window.real ??= window.fetch; window.asked = 0;"
        f"window.fetch = (path, options) => {{ const real = () => window.real(path, options); {script} }}"
    )


def test_what_goes_wrong_says_what_to_do(page, photograph, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    page.open_file(tmp_path / "notes.txt")
    page.until("!document.querySelector('#notice').hidden")
    assert page.notice() == "notes.txt is no photograph: open a JPEG, PNG or WebP file."
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    page.open_file(tmp_path / "broken.jpg")
    page.until("document.querySelector('#notice span').textContent.startsWith('broken.jpg')")
    assert page.notice() == "broken.jpg cannot be read here: open a JPEG, PNG or WebP file."
    (tmp_path / "large.png").write_bytes(bytes(3_000_000))
    page.open_file(tmp_path / "large.png")
    page.until("document.querySelector('#notice span').textContent.startsWith('large.png')")
    assert page.notice() == "large.png has 3.0 MB, at most 2.0 MB are taken: save it smaller (as JPEG) and open that."
    Image.new("L", (4000, 4000)).save(tmp_path / "wide.png")
    page.open_file(tmp_path / "wide.png")
    page.until("document.querySelector('#notice span').textContent.startsWith('wide.png')")
    assert "16 megapixels, at most 4 are taken" in page.notice()
    page.click("#notice .close")

    open_and_draw(page, photograph)
    page.drag((0.8, 0.5), (0.808, 0.7))
    page.until("document.querySelector('#notice span').textContent.startsWith('That rectangle is too small')")

    # Filters that leave nothing.
    page.click("#filters")
    page.find("[name=min_side_px]").send_keys("5000", page.keys.ENTER)
    page.until("document.querySelector('#relax')")
    assert "12 shorter than 5000 px" in page.ask("document.querySelector('#results').textContent")
    assert "--" not in page.ask("document.querySelector('#results').textContent")
    assert page.axe() == []
    page.click("#relax")
    results(page)

    # Too much at a time, a forgotten photograph, and no service at all: it goes on by itself.
    again = "new Response(JSON.stringify({ error: 'busy' }), { status: 429, headers: { 'Retry-After': '1' } })"
    stub(
        page, f"if (path.startsWith('/api/search') && !window.asked++) return Promise.resolve({again}); return real();"
    )
    page.drag((0.1, 0.4), (0.3, 0.9))
    page.until("document.querySelector('#notice').textContent.startsWith('The service is busy. Trying again in 1 s')")
    page.until("document.querySelector('#notice').hidden")
    results(page)
    gone = "new Response(JSON.stringify({ error: 'photo: is not here any more: upload it again' }), { status: 404 })"
    stub(
        page,
        f"if (path === '/api/pictures') window.uploaded = true;"
        f"if (path.startsWith('/api/search') && !window.asked++) return Promise.resolve({gone}); return real();",
    )
    page.drag((0.5, 0.4), (0.8, 0.9))
    page.until("window.uploaded && window.asked === 2")
    results(page)
    assert page.notice() == ""
    stub(page, "if (window.asked++ < 3) return Promise.reject(new TypeError('away')); return real();")
    page.drag((0.2, 0.3), (0.4, 0.9))
    page.until("document.querySelector('#notice span').textContent.startsWith('The service does not answer.')")
    page.until("document.querySelector('#notice').hidden")
    results(page)


def test_keys_alone_suffice(page, photograph):
    keys = page.keys
    page.open_file(photograph)
    page.until("document.activeElement.id === 'sheet'")
    page.press(keys.ENTER)
    results(page)
    assert page.focused() == "frame rectangle"
    page.ask("window.before = performance.getEntriesByName('fos:results').length")
    first = page.state()["box"]
    page.press(keys.ARROW_LEFT, keys.ARROW_LEFT)
    page.press(keys.ARROW_DOWN, held=keys.SHIFT)
    page.until("performance.getEntriesByName('fos:results').length > window.before")
    step = round(0.01 * WIDTH)
    assert page.state()["box"] == [first[0] - 2 * step, first[1], first[2] - 2 * step, first[3] + step]
    page.press(keys.ENTER)
    page.until("document.activeElement.className === 'hit'")
    page.press(keys.ARROW_RIGHT)
    assert page.ask("document.activeElement.dataset.id") == ids(page)[1]
    wait(lambda: visible(page, page.state()["box"]))
    page.press(keys.ARROW_DOWN, keys.ARROW_UP, keys.HOME, keys.ENTER)
    page.until("document.querySelector('.layer')")
    assert page.said() == "Kept Car, facing left."
    page.press(keys.ESCAPE)
    page.until("document.activeElement.className === 'frame rectangle resting'")
    page.press(keys.TAB)
    assert page.focused() == "frame foreground"
    before = page.state()["layers"][0]["box"]
    page.press(keys.ARROW_RIGHT, "m")
    after = page.state()["layers"][0]
    assert after["box"][0] == before[0] + step
    assert after["mirrored"]
    page.press(keys.DELETE)
    assert page.state()["layers"] == []
    page.press("z", held=keys.CONTROL)
    assert page.state()["layers"] == [after]
    page.press("?")
    page.until("document.querySelector('#dialog').open")
    assert page.ask("document.querySelectorAll('#dialog section').length") == 4
    page.press(keys.ESCAPE)
    page.press("s", held=keys.CONTROL)
    page.until("document.activeElement.closest('#dialog')")
    assert page.axe() == []
    page.press(keys.ESCAPE)


def test_a_service_that_wants_a_key_gets_it(page, photograph, tmp_path):
    from fos_jax.serving.keys import add_key

    keys = tmp_path / "keys.json"
    key = add_key(keys, "ann", "reader")
    with serving(tmp_path, keys=keys) as found:
        page.browser.get(found)
        page.until("document.activeElement.id === 'api-key'")
        page.press("wrong", page.keys.ENTER)
        page.until("document.querySelector('#dialog').open && !document.querySelector('#api-key').value")
        page.press(key, page.keys.ENTER)
        page.until("document.querySelector('#ask select')")
        open_and_draw(page, photograph)
        page.until("document.querySelector('.hit img').naturalWidth > 0")
        page.click(".row .hit")
        page.until("document.querySelector('.layer img')?.naturalWidth > 0")
        wait(lambda: visible(page, page.state()["layers"][0]["box"]))
        assert page.errors(401) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, photograph, theme):
    page.theme(theme)
    assert page.axe() == []
    open_and_draw(page, photograph)
    page.click(".row .hit")
    page.until("document.querySelector('.layer')")
    page.click("#attributes")
    assert page.axe() == []
    page.resize(360, 740)
    page.click("#filters")
    assert page.axe() == []
    assert page.ask("document.documentElement.scrollWidth") == 360
    page.click("#view-atlas")
    page.until("document.querySelector('.atlas-inside .hit')")
    assert page.axe() == []
    assert page.ask("document.documentElement.scrollWidth") == 360


def test_files_are_small_and_ask_nobody_else():
    from importlib import resources

    files = [
        f for f in (resources.files("fos_jax.serving") / "page").iterdir() if f.name.endswith((".js", ".css", ".html"))
    ]
    assert len(files) > 20
    for file in files:
        text = file.read_text("utf-8")
        assert "innerHTML" not in text
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert len(text.splitlines()) <= 400
