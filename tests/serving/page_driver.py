"""A headless Chromium on the search page, for tests and for the pictures of the documents.

    make serve
    python tests/serving/page_driver.py --address=http://127.0.0.1:8766/ --output=docs   # pictures
    python tests/serving/page_driver.py --address=http://127.0.0.1:8766/ --measure       # times

Needs Debian's chromium and chromium-driver (or others of the same version on the path), and selenium.
"""

import argparse
import base64
import io
import shutil
import time
from importlib import resources
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WAIT_S = 60


class Page:
    """One browser window on the page."""

    def __init__(self, address: str, *, downloads: Path | None = None):
        from selenium import webdriver
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        self.keys, self.by, self.address = Keys, By, address
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.resize(1280, 800)
        if downloads is not None:
            settings = {"behavior": "allow", "downloadPath": str(downloads)}
            self.browser.execute_cdp_cmd("Browser.setDownloadBehavior", settings)
        self.open()

    def open(self) -> None:
        """Opens the page anew: what is kept over a reload is there again."""
        self.browser.get(self.address)
        self.until("document.querySelector('#ask select')")

    def resize(self, width: int, height: int, *, is_phone: bool = False) -> None:
        """The window's inner size in CSS pixels; a phone has fingers and no pointer."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": is_phone, "maxTouchPoints": 5})

    def theme(self, name: str) -> None:
        """ "light" or "dark"."""
        if self.ask("document.documentElement.dataset.theme") != name:
            self.click("#theme")

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.browser.execute_script(f"return {script}")

    def until(self, condition: str) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + WAIT_S
        while not self.ask(f"Boolean({condition})"):
            if time.monotonic() > end:
                told = f"{self.notice()!r}, {self.said()!r}, {self.browser.get_log('browser')}"
                raise AssertionError(f"not within {WAIT_S} s: {condition}; {told}")
            time.sleep(0.03)

    def find(self, selector: str) -> Any:
        """The first element of a CSS selector, scrolled into sight."""
        self.until(f"document.querySelector({selector!r})")
        node = self.browser.find_element(self.by.CSS_SELECTOR, selector)
        self.browser.execute_script("arguments[0].scrollIntoView({ block: 'nearest', inline: 'nearest' })", node)
        return node

    def click(self, selector: str) -> None:
        """A real click in the middle of an element."""
        self.find(selector).click()

    def hover(self, selector: str) -> None:
        """Moves the pointer onto an element."""
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).move_to_element(self.find(selector)).perform()

    def press(self, *keys: str, held: str = "") -> None:
        """Presses keys one after the other at whatever has the focus, with a modifier held."""
        from selenium.webdriver import ActionChains

        for key in keys:
            actions = ActionChains(self.browser)
            if held:
                actions.key_down(held).send_keys(key).key_up(held).perform()
            else:
                actions.send_keys(key).perform()

    def focused(self) -> str:
        """What has the focus: its id, else its class."""
        return self.ask("document.activeElement.id || document.activeElement.className")

    def drag(self, start: tuple[float, float], end: tuple[float, float], *, steps: int = 4) -> None:
        """Drags by mouse over the photograph, in fractions of its width and height."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        self.find("#sheet")
        place = [self.on_photograph(*point) for point in (start, end)]
        builder = ActionBuilder(self.browser, duration=10)
        builder.pointer_action.move_to_location(*map(round, place[0])).pointer_down()
        for i in range(1, steps + 1):
            point = [a + (b - a) * i / steps for a, b in zip(*place, strict=True)]
            builder.pointer_action.move_to_location(*map(round, point))
        builder.pointer_action.pointer_up()
        builder.perform()

    def middle(self, selector: str) -> tuple[float, float]:
        """The middle of an element, in CSS pixels of the window."""
        rect = self.ask(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        return rect["x"] + rect["width"] / 2, rect["y"] + rect["height"] / 2

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Fingers at points of the window: "Start", "Move", and "End" without points."""
        fingers = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": fingers})

    def tap(self, selector: str) -> None:
        """A tap in the middle of an element."""
        self.find(selector)
        time.sleep(0.3)  # sooner after another touch Chromium takes it for the second half of a double tap
        self.touch("Start", self.middle(selector))
        self.touch("End")

    def swipe(self, *paths: tuple[tuple[float, float], tuple[float, float]], steps: int = 8) -> None:
        """Moves one finger per path from its start to its end; the second comes down after the first."""
        for n in range(len(paths)):
            self.touch("Start", *(start for start, _ in paths[: n + 1]))
        for i in range(1, steps + 1):
            self.touch("Move", *((a + (c - a) * i / steps, b + (d - b) * i / steps) for (a, b), (c, d) in paths))
            time.sleep(0.01)
        self.touch("End")

    def on_photograph(self, x: float, y: float) -> tuple[float, float]:
        """A point of the window, from fractions of the photograph's width and height."""
        rect = self.ask("document.querySelector('#sheet').getBoundingClientRect().toJSON()")
        return rect["x"] + x * rect["width"], rect["y"] + y * rect["height"]

    def drop(self, selector: str, *paths: Path, text: str = "") -> None:
        """Drags files, else a text, from outside over an element and lets go."""
        x, y = self.middle(selector)
        items = [{"mimeType": "text/plain", "data": text}] if text else []
        data = {"items": items, "files": list(map(str, paths)), "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    def paste(self, path: Path) -> None:
        """Pastes a picture as the clipboard hands it over: a PNG without a name of its own."""
        script = """
          const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        """
        self.browser.execute_script(script, base64.b64encode(path.read_bytes()).decode())

    def open_file(self, path: Path, field: str = "#file") -> None:
        """Hands a file to the page as the file dialog does, or the camera (#shot)."""
        self.browser.find_element(self.by.CSS_SELECTOR, field).send_keys(str(path))

    def state(self) -> dict[str, Any]:
        """What is kept over a reload, as it is now."""
        script = "(() => { const w = JSON.parse(localStorage.getItem('fos.work')); return w && w.states[w.at] })()"
        return self.ask(script)

    def notice(self) -> str:
        """The line at the top, "" where there is none."""
        return self.ask(
            "document.querySelector('#notice').hidden ? '' : document.querySelector('#notice span').textContent"
        )

    def said(self) -> str:
        """What a screen reader was told last."""
        return self.ask("document.querySelector('#live').textContent")

    def axe(self) -> list[str]:
        """What axe finds serious or critical now."""
        if not self.ask("Boolean(window.axe)"):
            source = (resources.files("axe_core_python") / "axe.min.js").read_text("utf-8")
            self.browser.execute_script(source)
        script = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then(done)"
        found = self.browser.execute_async_script(script)["violations"]
        return [
            f"{entry['id']}: {entry['nodes'][0]['target']} {entry['nodes'][0]['failureSummary']}"
            for entry in found
            if entry["impact"] in ("serious", "critical")
        ]

    def picture(self, path: Path) -> None:
        """Writes the window as a PNG."""
        from PIL import Image

        time.sleep(0.4)
        Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB").save(path, optimize=True)

    def errors(self, *meant: int) -> list[str]:
        """What the browser complained about, but for answers of statuses that were meant."""
        # Tests read pixels of canvases, and end services that a page still asks for a composite.
        ended = ("willReadFrequently", "ERR_CONNECTION_REFUSED")
        refusals = (*(f"status of {status}" for status in meant), *ended)
        log = self.browser.get_log("browser")
        return [entry["message"] for entry in log if not any(refusal in entry["message"] for refusal in refusals)]

    def close(self) -> None:
        """Ends the browser."""
        self.browser.quit()


def write_pictures(address: str, output: Path) -> None:
    """Two pictures of the page on a served gallery with examples: results with placed foregrounds, and the reasons."""
    output.mkdir(parents=True, exist_ok=True)
    page = Page(address)
    try:
        page.resize(1200, 740)
        page.theme("light")
        page.click("#welcome .examples li:nth-child(3) button")
        page.click(".row li:nth-child(2) .hit")
        page.until("document.querySelector('#layers .layer')")
        time.sleep(3)  # the service's own picture of it
        page.hover(".row:nth-of-type(2) .hit")
        page.hover("#tab-why")
        page.picture(output / "page.png")
        page.theme("dark")
        page.click("#tab-why")
        page.click("#show-evidence")
        page.until("document.querySelector('#evidence canvas')")
        page.ask("document.querySelector('#why-attributes').scrollIntoView()")
        page.hover("header h1")
        page.picture(output / "page_why.png")
    finally:
        page.close()


_FRAMES = """
  const done = arguments[0], frame = document.querySelector('.frame.foreground');
  frame.setPointerCapture = () => {};
  const { x, y, width, height } = frame.getBoundingClientRect();
  const send = (kind, dx, dy) => frame.dispatchEvent(new PointerEvent(kind, {
    bubbles: true, clientX: x + width / 2 + dx, clientY: y + height / 2 + dy, pointerId: 1, button: 0,
  }));
  const times = [];
  let last = 0, moves = 0;
  const step = (now) => {
    if (last) times.push(now - last);
    last = now;
    for (let i = 0; i < 3; i++, moves++) send('pointermove', 80 * Math.sin(moves / 30), 50 * Math.cos(moves / 40));
    if (moves < 900) return requestAnimationFrame(step);
    send('pointerup', 0, 0);
    return done(times);
  };
  send('pointerdown', 0, 0);
  requestAnimationFrame(step);
"""


def measure(address: str) -> None:
    """Prints, for a photograph of 24 megapixels, ms from letting go to drawn results, and ms of frames of a drag."""
    import tempfile

    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (250, 375, 3), np.uint8)
    page = Page(address)
    taken = "performance.getEntriesByName('fos:{}').at(-1).startTime"
    try:
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            Image.fromarray(noise).resize((6000, 4000), Image.Resampling.BICUBIC).save(file, quality=90)
            file.flush()
            page.open_file(Path(file.name))
            page.until("!document.querySelector('#sheet').hidden")
            page.drag((0.2, 0.5), (0.45, 0.9))
            page.until("document.querySelector('.hit')")
            found = []
            for i in range(20):
                count = page.ask("performance.getEntriesByName('fos:results').length")
                page.drag((0.3 + 0.01 * i, 0.7), (0.31 + 0.01 * i, 0.7))
                page.until(f"performance.getEntriesByName('fos:results').length > {count}")
                found.append(page.ask(f"{taken.format('results')} - {taken.format('letgo')}"))
            page.click(".hit")
            page.until("document.querySelector('.layer')")
            time.sleep(2)
            frames = page.browser.execute_async_script(_FRAMES)
    finally:
        page.close()
    for name, values in (("results, ms from letting go", found), ("frames of a drag, ms", frames)):
        p50, p95 = np.percentile(values, (50, 95))
        print(f"{name}: p50 {p50:.1f}, p95 {p95:.1f}, longest {max(values):.1f} ({len(values)} measured)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="of a service that has examples")
    parser.add_argument("--output", type=Path, help="folder for page.png and page_why.png")
    parser.add_argument("--measure", action="store_true", help="print times")
    arguments = parser.parse_args()
    if arguments.output:
        write_pictures(arguments.address, arguments.output)
    if arguments.measure:
        measure(arguments.address)
