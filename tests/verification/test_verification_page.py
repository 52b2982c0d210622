"""The page in a real headless Chromium: a session of two annotators, from proposals to export.

Needs Debian's chromium and chromium-driver (or others of the same version on the path). FOS_SCREENSHOTS names a folder
for pictures of the views.
"""

import os
import shutil
import time
from pathlib import Path

import pytest

from fos_jax.verification.export import read_export

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver (Debian: apt install chromium chromium-driver)"
)
WAIT_S = 60


class Page:
    """One annotator's browser."""

    def __init__(self, address, name):
        selenium = pytest.importorskip("selenium.webdriver")
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        self.keys, self.by = Keys, By
        options = selenium.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,800"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
        self.browser.get(address)
        self.until("document.querySelector('#dialog[open] input')")
        self.press(name, Keys.ENTER)
        self.until("document.querySelector('.cell img')?.complete")

    def press(self, *keys):
        """Presses keys, one after the other, at whatever has the focus by then; a modifier holds for its key."""
        from selenium.webdriver import ActionChains

        for key in keys:
            actions = ActionChains(self.browser)
            if key[0] in (self.keys.CONTROL, self.keys.SHIFT):
                actions.key_down(key[0]).send_keys(key[1:]).key_up(key[0]).perform()
            else:
                actions.send_keys(key).perform()

    def ask(self, script):
        return self.browser.execute_script(f"return {script}")

    def until(self, condition):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + WAIT_S
        while not self.ask(f"Boolean({condition})"):
            if time.monotonic() > end:
                self.picture("failure")
                head = self.ask("document.querySelector('#head').textContent")
                raise AssertionError(f"{condition}: {head!r}, {self.notice()!r}, {self.browser.get_log('browser')}")
            time.sleep(0.05)

    def notice(self):
        return self.ask("document.querySelector('#notice').hidden ? '' : document.querySelector('#notice').textContent")

    def open_group(self, group):
        self.ask(f"document.querySelector('.group[data-group=\"{group}\"]').click()")
        self.until(f"document.querySelector('#head small')?.textContent.startsWith('#{group} ')")

    def choose(self, group):
        """Chooses a group in the open picker, by keys."""
        self.until("document.querySelector('#dialog[open] .choice')")
        self.press(f"#{group} ", self.keys.ENTER)
        self.until("!document.querySelector('#dialog[open]')")

    def members(self):
        return set(self.ask("[...document.querySelectorAll('.cell')].map((cell) => Number(cell.dataset.cutout))"))

    def picture(self, name):
        if folder := os.environ.get("FOS_SCREENSHOTS"):
            time.sleep(0.5)
            self.browser.save_screenshot(str(Path(folder) / f"{name}.png"))

    def errors(self):
        """What the browser complained about, but for answers that were meant to be refusals."""
        refusals = ("status of 400", "status of 404", "status of 409")
        log = self.browser.get_log("browser")
        return [entry for entry in log if not any(refusal in entry["message"] for refusal in refusals)]


@pytest.fixture
def open_page():
    pages = []

    def open_one(address, name):
        pages.append(Page(address, name))
        return pages[-1]

    yield open_one
    for page in pages:
        page.browser.quit()


def test_session_of_two_annotators_from_proposals_to_export(start_server, open_page, world, tmp_path):
    server = start_server()
    ann = open_page(server.address, "ann")
    truth = world.truth
    assert ann.ask("document.querySelectorAll('.group').length") == 6

    # The mixed group is shown first, being the largest: mark the odd one by keys, split it off, confirm the rest.
    ann.open_group(2)
    odd = next(cutout for cutout in sorted(ann.members()) if truth[cutout] == "l")
    place = ann.ask(f"Number(document.querySelector('.cell[data-cutout=\"{odd}\"]').dataset.index)")
    ann.press(*[ann.keys.ARROW_RIGHT] * place, " ")
    ann.until("document.querySelector('.selection').textContent === '1 marked'")
    ann.picture("marked")
    ann.press("m")
    ann.picture("picker")
    ann.choose(3)
    ann.until("document.querySelector('#head small').textContent === '#2 · 6 cut-outs'")
    ann.press(ann.keys.ENTER)
    ann.until("document.querySelector('.group[data-group=\"2\"] .done')")

    # Two groups of arrows to the right are one pattern.
    ann.open_group(1)
    ann.press("g")
    ann.choose(0)
    ann.until("document.querySelector('#head small').textContent === '#0 · 5 cut-outs'")
    ann.press("n")
    ann.until("document.querySelector('#dialog[open] input')")
    ann.press("to the right", ann.keys.ENTER)
    ann.until("document.querySelector('#head h2').textContent === 'to the right'")
    ann.press("t")
    ann.until("document.querySelector('#dialog[open] textarea')")
    ann.press("yaw: right", ann.keys.CONTROL + ann.keys.ENTER)
    ann.until("document.querySelector('#head .chip')?.textContent === 'yaw: right'")
    ann.press("c")
    ann.choose(3)
    ann.until("document.querySelectorAll('#head .chip').length === 2")

    # Undo and do again.
    ann.press("u")
    ann.until("document.querySelectorAll('#head .chip').length === 1")
    ann.press("c")
    ann.choose(3)
    ann.until("document.querySelectorAll('#head .chip').length === 2")
    ann.press(ann.keys.ENTER)
    ann.until("document.querySelector('.group[data-group=\"0\"] .done')")
    ann.open_group(3)
    ann.press(ann.keys.ENTER)
    ann.until("document.querySelector('.group[data-group=\"3\"] .done')")
    ann.picture("judged")

    # Labels spread to the outlier, an arrow to the right.
    ann.press("2")
    ann.until("document.querySelector('#head h2')?.textContent.startsWith('Do these belong')")
    ann.picture("spread")
    outlier = next(iter(ann.members()))
    assert truth[outlier] == "r"
    assert ann.ask("document.querySelector('#head h2').textContent") == "Do these belong to to the right?"
    ann.press(ann.keys.ENTER)
    ann.until("document.querySelector('#head').textContent.startsWith('Nothing to propose')")

    # Another annotator, who has a page that is out of date when he acts.
    bob = open_page(server.address, "bob")
    bob.open_group(2)
    up = sorted(bob.members())
    found = server.json("/api/groups?category=arrow&annotator=x")["groups"]
    revisions = {str(entry["group"]): entry["revision"] for entry in found}
    bob.ask("Object.defineProperty(document, 'hidden', { get: () => true })")  # looks no more for what others do
    name = {"annotator": "ann", "kind": "name", "parameters": {"group": 2, "name": "upward"}, "revisions": revisions}
    server.json("/api/actions", name)
    bob.press(" ", "s")
    bob.until("document.querySelector('#head h2').textContent === 'upward'")
    assert bob.notice().startswith("group 2: changed since it was shown: name by ann (action ")
    assert bob.members() == set(up)
    bob.picture("conflict")
    bob.press("s")
    bob.until("document.querySelectorAll('.group').length === 6")
    bob.press("3")
    bob.until("document.querySelectorAll('.dispute').length === 1")
    bob.picture("disagreements")

    # Agreement, then bob gives in: he sides with ann's verdict.
    bob.press("4")
    bob.until("document.querySelector('tbody tr')")
    assert "ann and bob" in bob.ask("document.querySelector('tbody').textContent")
    bob.picture("agreement")
    bob.press("3")
    bob.until("document.querySelector('.dispute.chosen .sides button')")
    bob.press("a")
    bob.until("document.querySelector('#sheet .empty')")
    bob.press("5")
    bob.until("document.querySelectorAll('tbody tr').length > 8")
    bob.picture("history")
    bob.press("?")
    bob.until("document.querySelector('#dialog[open] .keys')")
    bob.press(bob.keys.ESCAPE)
    bob.ask("document.querySelector('#theme').click()")
    bob.press("1")
    bob.until("document.querySelector('.cell')")
    bob.picture("other_theme")

    (tmp_path / "export.json").write_bytes(server.request("/api/export")[2])
    found = {pattern.id: pattern for pattern in read_export(tmp_path / "export.json").patterns}
    assert found[0].name == "to the right"
    assert found[0].attributes == {"yaw": "right"}
    from fos_jax.cutouts.cutout_set import CutoutSet

    number = {name: index for index, name in enumerate(CutoutSet(world.cutouts).column("id"))}
    kinds = {id: {truth[number[member.cutout_id]] for member in pattern.members} for id, pattern in found.items()}
    assert kinds == {0: {"r"}, 2: {"u"}, 3: {"l"}, 4: {"c"}}
    assert read_export(tmp_path / "export.json").also_compatible == ((0, 3),)
    for page in (ann, bob):
        assert page.errors() == []
    code, errors = server.stop(kill=True)
    assert code is not None, errors


def test_a_group_of_thousands_holds_only_what_is_in_sight(shared_server, open_page):
    page = open_page(shared_server.address, "ann")
    script = """
      const done = arguments[0];
      import('/page/grid.js').then(({ Grid }) => {
        const root = document.createElement('div');
        root.style.cssText = 'position: fixed; inset: 0; overflow-y: auto; z-index: 9';
        document.body.append(root);
        const grid = new Grid(root, () => {});
        const begin = performance.now();
        grid.show(Array.from({ length: 20000 }, (_, i) => ({ cutout: i % 24 })));
        const shown_ms = performance.now() - begin;
        const first = root.querySelectorAll('.cell').length;
        grid.move('End', false);
        requestAnimationFrame(() => requestAnimationFrame(() => {
          const last = Math.max(...[...root.querySelectorAll('.cell')].map((cell) => Number(cell.dataset.index)));
          done({ first, last, cells: root.querySelectorAll('.cell').length, shown_ms });
        }));
      });
    """
    found = page.browser.execute_async_script(script)
    assert found["last"] == 19999
    assert max(found["first"], found["cells"]) < 300
    assert page.errors() == []
