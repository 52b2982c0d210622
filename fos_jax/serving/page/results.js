// What was found: a row per pattern, its foregrounds in the order in which they fit. One of them has the focus.

import { bar, byId, el } from "/page/shared/dom.js";
import { thumbnail } from "./pictures.js";
import { counted, describe, percent, plain } from "./words.js";

// The service names the fields that relax a rule; here a button does.
const plainly = (refused) => `${capital(refused.replace(/ \([^()]*relaxes that\)/g, ""))}.`;

const capital = (text) => text.replace(/^./, (letter) => letter.toUpperCase());

export class Results {
  // on: {preview(hit or null), keep(hit, isAnother), similar(hit), why({pattern} or {foreground}), all(group), more(), relax()}
  constructor(root, on) {
    Object.assign(this, { root, on, hits: new Map() });
    root.addEventListener("pointerover", (event) => this.look(event.target));
    root.addEventListener("pointerleave", () => this.look(null));
    root.addEventListener("focusin", (event) => this.look(event.target));
    root.addEventListener("focusout", (event) => !root.contains(event.relatedTarget) && this.look(null));
    root.addEventListener("keydown", (event) => this.press(event));
  }

  hitOf(node) {
    return this.hits.get(node?.closest?.("li")?.querySelector(".hit"));
  }

  look(node) {
    const hit = this.hitOf(node) ?? null;
    if (hit && node.closest(".hit") === document.activeElement) this.stop(node.closest(".hit"));
    if (hit === this.looked) return;
    this.looked = hit;
    this.on.preview(hit);
    this.tell(hit);
  }

  // The Tab key stops once in each list, at the hit that had the focus last.
  stop(button) {
    for (const other of button?.closest("ul").querySelectorAll(".hit") ?? []) other.tabIndex = other === button ? 0 : -1;
  }

  tell(hit) {
    const detail = byId("detail");
    if (!hit) return void detail.replaceChildren(this.hits.size ? el("span", {}, "Point at a result, or move through them with the arrow keys: it is shown in place.") : "");
    const facts = [hit.id, `${hit.width_px} × ${hit.height_px} px`, hit.licence || "licence unknown", hit.is_mirrored && "mirrored", ...(hit.tags ?? [])];
    detail.replaceChildren(el("strong", {}, facts.filter(Boolean).join(" · ")), el("span", {}, hit.why));
  }

  press(event) {
    const button = event.target.closest(".hit");
    if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
    const hit = this.hits.get(button);
    const actions = { s: () => this.on.similar(hit), w: () => this.on.why({ foreground: hit.id, pattern: hit.pattern }) };
    const target = this.neighbour(button, event.key);
    if (target) target.focus();
    else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  }

  neighbour(button, key) {
    const row = [...button.closest("ul").querySelectorAll(".hit")];
    const at = row.indexOf(button);
    if (key === "Home") return row[0];
    if (key === "End") return row.at(-1);
    if (key === "ArrowLeft" || key === "ArrowRight") return row[at + (key === "ArrowLeft" ? -1 : 1)] ?? button;
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    // The nearest one in the line above or below, of this row's lines or the next row's.
    const down = key === "ArrowDown";
    const from = button.getBoundingClientRect();
    const beyond = [...this.root.querySelectorAll(".hit")]
      .map((node) => [node, node.getBoundingClientRect()])
      .filter(([, place]) => (down ? place.top >= from.bottom - 2 : place.bottom <= from.top + 2));
    const distance = (place) => 8 * Math.abs(place.top - from.top) + Math.abs(place.left - from.left);
    return beyond.sort((a, b) => distance(a[1]) - distance(b[1]))[0]?.[0] ?? button;
  }

  // ---- drawing --------------------------------------------------------------------------------------------------------

  empty(...children) {
    this.hits.clear();
    this.look(null);
    this.tell(null);
    this.root.replaceChildren(el("div", { class: "empty" }, children));
  }

  show({ groups, refused }, { category, hasFilters, wanted, mayHaveMore }) {
    const had = this.root.contains(document.activeElement) ? document.activeElement.dataset : null;
    this.hits.clear();
    if (!groups.length) return this.showNothing(category, refused, hasFilters, wanted);
    const rows = groups.map((group) => this.row(group, category));
    const more = mayHaveMore && groups[0].id >= 0 ? el("button", { class: "more", onclick: () => this.on.more() }, "More patterns") : null;
    this.root.replaceChildren(...[...rows, more, this.leftOut(refused, hasFilters)].filter(Boolean));
    for (const list of this.root.querySelectorAll(".hits")) this.stop(list.querySelector(".hit"));
    this.tell(null);
    const all = [...this.root.querySelectorAll(".hit")];
    if (had) (all.find(({ dataset }) => dataset.id === had.id) ?? all[0]).focus();
  }

  // What rules keep out of sight, and the way to see it.
  leftOut(refused, hasFilters) {
    if (!refused) return null;
    return el("div", { class: "left-out" }, el("p", {}, plainly(refused)), el("button", { id: "relax", onclick: () => this.on.relax() }, hasFilters ? "Relax the filters" : "Show them all the same"));
  }

  showNothing(category, refused, hasFilters, wanted) {
    if (refused && (hasFilters || !Object.keys(wanted).length)) {
      const relax = el("button", { class: "main", id: "relax", onclick: () => this.on.relax() }, hasFilters ? "Relax the filters" : "Show them all the same");
      return this.empty(el("h2", {}, hasFilters ? "The filters leave nothing" : "Nothing fits as it should"), el("p", {}, plainly(refused)), relax);
    }
    if (Object.keys(wanted).length) {
      return this.empty(
        el("h2", {}, "Nothing looks like that"),
        el("p", {}, `No ${plain(category)} of the gallery is ${describe(wanted)}.`),
        el("button", { class: "main", id: "relax", onclick: () => this.on.relax() }, "Drop these wishes"),
      );
    }
    return this.empty(el("h2", {}, "Nothing was found"), el("p", {}, `The gallery has no foregrounds of ${plain(category)}: choose another category.`));
  }

  row(group, category) {
    const label = group.id < 0 ? "All that fit" : capital(describe(group.attributes, group.description));
    const cover = group.representatives[0];
    const list = el("ul", { class: "hits", "aria-label": label }, group.hits.map((hit) => this.item(hit)));
    const isPattern = group.id >= 0;
    return el(
      "section",
      { class: "row", "data-pattern": String(group.id) },
      el(
        "div",
        { class: "row-head" },
        cover ? el("span", { class: "cover" }, thumbnail(cover.id, cover.is_mirrored, "")) : null,
        el(
          "div",
          { class: "row-name" },
          el("h3", {}, label),
          el(
            "div",
            { class: "row-facts" },
            isPattern ? [el("span", { class: "share" }, bar(group.probability), percent(group.probability), el("span", { class: "unseen" }, " probable")), el("button", { class: "quiet", "aria-label": `Why: ${label}`, onclick: () => this.on.why({ pattern: group.id }) }, "Why")] : null,
            group.size > group.hits.length
              ? el("button", { class: "quiet all", "aria-label": `All ${group.size}: ${label}`, onclick: (event) => this.on.all(group, list, event.currentTarget) }, `All ${group.size}`)
              : el("small", {}, counted(group.size, "foreground")),
          ),
        ),
      ),
      list,
    );
  }

  // All of a pattern in place of the first few.
  fill(list, hits) {
    list.classList.add("whole");
    const had = list.contains(document.activeElement) || document.activeElement === document.body;
    list.replaceChildren(...hits.map((hit) => this.item(hit)));
    if (had) list.querySelector(".hit")?.focus();
    this.stop(list.querySelector(".hit"));
  }

  // One list under a heading, with a way back: more like this.
  showList(title, hits, back) {
    this.hits.clear();
    const list = el("ul", { class: "hits whole", "aria-label": title }, hits.map((hit) => this.item(hit)));
    this.root.replaceChildren(
      el("div", { class: "row-head" }, el("button", { class: "quiet", id: "back", onclick: back }, "← Back"), el("h3", {}, title)),
      list,
    );
    this.stop(list.querySelector(".hit"));
    this.tell(null);
  }

  item(hit) {
    const said = [`${hit.rank + 1}. ${hit.id}`, describe(hit.attributes), `${hit.width_px} × ${hit.height_px} px`, hit.licence, hit.is_mirrored && "mirrored"];
    const label = said.filter(Boolean).join(", ");
    const button = el(
      "button",
      { class: "hit", tabIndex: -1, "aria-label": `Place ${label}`, "data-id": hit.id, onclick: (event) => this.on.keep(hit, event.shiftKey) },
      thumbnail(hit.id, hit.is_mirrored, ""),
      hit.is_mirrored ? el("span", { class: "badge", "aria-hidden": "true" }, "⇋") : null,
    );
    this.hits.set(button, hit);
    const similar = el("button", { class: "similar", tabIndex: -1, title: "More like this (S)", "aria-label": `More like ${hit.id}`, onclick: () => this.on.similar(hit) }, "≈");
    return el("li", {}, button, similar);
  }

  mark(keptIds) {
    for (const button of this.hits.keys()) {
      const isKept = keptIds.has(button.dataset.id);
      button.classList.toggle("kept", isKept);
      button.setAttribute("aria-describedby", isKept ? "is-kept" : "");
    }
  }
}
