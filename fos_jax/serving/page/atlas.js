// The gallery without a query: its patterns as a map and as a list, and the foregrounds inside one.

import { byId, el } from "/page/shared/dom.js";
import { say } from "./notice.js";
import { showAt, thumbnail, thumbnailAddress } from "./pictures.js";
import { counted, describe, plain, title } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const PAGE = 60;
const capital = (text) => text.replace(/^./, (letter) => letter.toUpperCase());

function shape(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export class Atlas {
  // on: {keep(foreground metadata)}; canKeep() tells whether a photograph is open
  constructor(root, api, on) {
    Object.assign(this, { root, api, on, category: "", patterns: [], chosen: null });
  }

  async open(gallery, category) {
    this.gallery = gallery;
    this.category = category;
    this.chosen = null;
    this.root.setAttribute("aria-label", "Atlas");
    this.root.replaceChildren(el("div", { class: "empty" }, el("p", {}, "Reading the gallery…")));
    const { patterns } = await this.api.get("/api/atlas", { category });
    if (this.category !== category) return;
    this.patterns = [...patterns].sort((a, b) => b.size - a.size || a.id - b.id);
    this.draw();
    await this.choose(this.patterns[0]?.id ?? null);
  }

  nameOf({ attributes, description }) {
    return capital(describe(attributes, description));
  }

  draw() {
    const total = this.patterns.reduce((sum, { size }) => sum + size, 0);
    const select = el("select", { id: "atlas-category", onchange: (event) => this.open(this.gallery, event.target.value) }, this.gallery.categories.map(({ name, foregrounds }) => el("option", { value: name, selected: name === this.category }, `${title(name)} (${foregrounds.toLocaleString("en")})`)));
    this.list = el(
      "ul",
      { class: "patterns" },
      this.patterns.map((pattern) =>
        el(
          "li",
          {},
          el(
            "button",
            { "data-pattern": String(pattern.id), "aria-pressed": "false", onclick: () => this.choose(pattern.id) },
            el("span", { class: "cover" }, pattern.representatives.length ? thumbnail(pattern.representatives[0], false, "") : null),
            el("span", {}, this.nameOf(pattern)),
            el("b", {}, String(pattern.size), el("span", { class: "unseen" }, " foregrounds")),
          ),
        ),
      ),
    );
    this.inside = el("div", { id: "atlas-inside" });
    this.root.replaceChildren(
      el("div", { class: "atlas-head" }, el("h2", {}, "Atlas"), el("label", { class: "field inline" }, el("span", {}, "Category"), select), el("small", {}, `${counted(this.patterns.length, "pattern")}, ${counted(total, "foreground")}`)),
      el("section", { class: "atlas-map", "aria-label": "Map" }, (this.plot = el("div", { class: "plot" })), el("p", { class: "note" }, "Patterns that look alike to the model lie near each other. The list holds the same.")),
      el("section", { class: "atlas-list", "aria-label": "Patterns" }, this.list),
      el("section", { class: "atlas-inside", "aria-label": "Foregrounds of the pattern" }, this.inside),
    );
    this.seen?.disconnect();
    this.seen = new ResizeObserver(([{ contentRect }]) => this.plot.replaceChildren(this.map(contentRect.width, contentRect.height)));
    this.seen.observe(this.plot);
  }

  // For the eye and the pointer; the list is the same for keys and screen readers.
  map(width, height) {
    const margin = Math.min(40, width / 12);
    const most = Math.max(...this.patterns.map(({ size }) => size), 1);
    const shown = this.patterns.filter(({ size }) => size);
    const isFlat = new Set(shown.map(({ y }) => y)).size < 2;
    const marks = shown.map((pattern) => {
      const side = Math.min(1, width / 800) * (22 + 18 * Math.sqrt(pattern.size / most));
      const [x, y] = [margin + pattern.x * (width - 2 * margin), margin + (isFlat ? 0.5 : pattern.y) * (height - 2 * margin)];
      const [first] = pattern.representatives;
      const mark = shape(
        "g",
        { transform: `translate(${x} ${y})`, class: pattern.id === this.chosen ? "mark chosen" : "mark", "data-pattern": pattern.id },
        shape("title", {}, `${this.nameOf(pattern)} (${pattern.size})`),
        shape("circle", { r: side * 0.62 }),
      );
      if (first !== undefined) {
        const image = shape("image", { x: -side / 2, y: -side / 2, width: side, height: side });
        showAt(image, thumbnailAddress(first), "href");
        mark.append(image);
      }
      mark.addEventListener("click", () => this.choose(pattern.id));
      return mark;
    });
    return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Map of ${counted(this.patterns.length, "pattern")} of ${plain(this.category)}` }, ...marks);
  }

  async choose(id, offset = 0) {
    this.chosen = id;
    for (const node of this.root.querySelectorAll("[data-pattern]")) {
      const isChosen = node.dataset.pattern === String(id);
      node.classList.toggle("chosen", isChosen);
      if (node.matches("button")) node.setAttribute("aria-pressed", String(isChosen));
      if (isChosen && node.matches(".mark")) node.parentNode.append(node);
    }
    const pattern = this.patterns.find((one) => one.id === id) ?? null;
    const found = await this.api.get("/api/foregrounds", { category: this.category, pattern: pattern && id >= 0 ? id : null, offset, limit: PAGE });
    if (this.chosen !== id) return;
    const name = pattern ? this.nameOf(pattern) : title(this.category);
    say(`${name}, ${counted(found.total, "foreground")}.`);
    const items = found.foregrounds.map((foreground) => this.item(foreground));
    const rest = found.total - offset - items.length;
    const more = rest > 0 ? [el("button", { class: "more", onclick: () => this.choose(id, offset + PAGE) }, `${Math.min(rest, PAGE)} more`)] : [];
    if (offset) {
      this.inside.querySelector(".more")?.remove();
      this.inside.querySelector("ul").append(...items);
      this.inside.append(...more);
      return;
    }
    this.inside.replaceChildren(el("h3", {}, name), el("p", { class: "note" }, this.on.canKeep() ? "Choose one to put it into the photograph." : "Open a photograph to put them into it."), el("ul", { class: "hits whole" }, items), ...more);
  }

  item(foreground) {
    const label = [foreground.id, `${foreground.width_px} × ${foreground.height_px} px`, foreground.licence].filter(Boolean).join(", ");
    return el("li", {}, el("button", { class: "hit", title: label, disabled: !this.on.canKeep(), onclick: () => this.on.keep(foreground) }, thumbnail(foreground.id, false, "")));
  }

  show(isShown) {
    this.root.hidden = !isShown;
    byId("photograph").hidden = isShown;
  }
}
