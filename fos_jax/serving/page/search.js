// The question (category, wishes, filters) and its answer: asked again whenever the rectangle or the question changes.

import { byId, el } from "/page/shared/dom.js";
import { countOf, filterForm, RELAXED } from "./filters.js";
import { say, tell } from "./notice.js";
import { STEPS } from "./welcome.js";
import { allSwitches, quickSwitches } from "./switches.js";
import { counted, describe, percent, plain, title } from "./words.js";

const PATTERNS = 4;
const INSTANCES = 10;

const keyOf = ({ photo, box, category, wanted, filters }) => JSON.stringify([photo?.key, box, category, wanted, filters]);

export class Search {
  // on: {failed(error), shown()}
  constructor(api, work, results, on) {
    Object.assign(this, { api, work, results, on, gallery: null, k: PATTERNS, key: "", found: null, best: {}, bestKey: "", opened: "", asking: null });
  }

  get values() {
    return this.gallery.attributes[this.work.now.category] ?? {};
  }

  // ---- the question ---------------------------------------------------------------------------------------------------

  drawAsk() {
    const { category, wanted, filters, box } = this.work.now;
    const focused = byId("ask").contains(document.activeElement) ? document.activeElement : null;
    const change = (patch) => this.work.change(patch);
    const select = el(
      "select",
      { id: "category", onchange: (event) => change({ category: event.target.value, wanted: {} }) },
      this.gallery.categories.map(({ name }) => el("option", { value: name, selected: name === category }, title(name))),
    );
    const hasAttributes = Object.keys(this.values).length > 0;
    const said = this.found?.attributes ?? {};
    const forms = {
      attributes: hasAttributes && (() => allSwitches({ values: this.values, said, wanted, change: (next) => change({ wanted: next }) })),
      filters: () => filterForm({ ...this.gallery, filters, change: (next) => change({ filters: next }) }),
    };
    if (!forms[this.opened]) this.opened = "";
    const disclosure = (name, label, count) => {
      const isOpen = this.opened === name;
      const toggle = () => ((this.opened = isOpen ? "" : name), this.drawAsk());
      return el("button", { id: name, class: "disclosure", "aria-expanded": String(isOpen), "aria-controls": "form", onclick: toggle }, label, count ? [" ", el("span", { class: "count" }, String(count)), el("span", { class: "unseen" }, " set")] : null);
    };
    byId("ask").replaceChildren(
      ...[
        el("label", { class: "field inline" }, el("span", {}, "Category"), select),
        hasAttributes ? disclosure("attributes", "Attributes", countOf(wanted)) : null,
        disclosure("filters", "Filters", countOf(filters)),
        el("div", { id: "form", class: "form", hidden: !this.opened }, this.opened ? forms[this.opened]() : []),
        box && hasAttributes ? quickSwitches({ values: this.values, wanted, best: this.best, change: (next) => change({ wanted: next }) }) : null,
      ].filter(Boolean),
    );
    if (focused) refocus(focused);
  }

  relax() {
    const { wanted, filters } = this.work.now;
    if (countOf(wanted) && !this.found?.refused) return this.work.change({ wanted: {} });
    // First what was set here; where that is not it, what the gallery demands by itself.
    const mirror = filters.mirror ? { mirror: true } : {};
    const isOwn = Object.keys(filters).some((name) => !(name in RELAXED) && name !== "mirror");
    return this.work.change({ filters: isOwn ? mirror : { ...mirror, ...RELAXED } });
  }

  // ---- the answer -----------------------------------------------------------------------------------------------------

  update(record) {
    const state = this.work.now;
    const key = keyOf(state);
    if (key === this.key) return;
    this.key = key;
    this.k = PATTERNS;
    this.asking?.abort();
    if (!state.photo || !state.box) {
      this.found = null;
      this.results.empty(
        el("h2", {}, state.photo ? "Draw a rectangle" : "How it goes"),
        el("ol", { class: "steps" }, STEPS.slice(state.photo ? 1 : 0).map(([name, what]) => el("li", {}, el("strong", {}, name), el("span", {}, what)))),
      );
      this.drawAsk();
      return;
    }
    this.drawAsk();
    this.ask(record);
  }

  again(record) {
    this.key = "";
    this.update(record);
  }

  async ask(record) {
    const { box, category, wanted, filters } = this.work.now;
    const { signal } = (this.asking = new AbortController());
    this.results.root.setAttribute("aria-busy", "true");
    const body = { box, category, k: this.k, instances: INSTANCES, representatives: 1, attributes: wanted, filters };
    try {
      const response = await this.api.ask("/api/search/patterns", record, body, { signal });
      const found = await response.json();
      if (signal.aborted) return;
      this.found = { refused: "", attributes: {}, ...found, refused: found.refused ?? "" };
      const place = JSON.stringify([record.key, box, category]);
      if (!countOf(wanted)) Object.assign(this, { best: found.groups[0]?.attributes ?? {}, bestKey: place });
      else if (this.bestKey !== place) this.best = likeliest(found.attributes ?? {});
      this.draw();
      performance.mark("fos:results");
      this.tell();
    } catch (error) {
      if (!signal.aborted) this.on.failed(error);
    } finally {
      if (this.asking.signal === signal) this.results.root.removeAttribute("aria-busy");
    }
  }

  draw() {
    const { category, wanted, filters } = this.work.now;
    this.results.show(this.found, { category, wanted, hasFilters: countOf(filters) > 0, mayHaveMore: this.found.groups.length === this.k });
    this.drawAsk();
    this.on.shown();
  }

  tell() {
    const { groups } = this.found;
    if (!groups.length) return say("Nothing was found. The results say why.");
    const [{ attributes, description, probability, id, size }] = groups;
    if (id < 0) return say(`${counted(size, "foreground")} found.`);
    return say(`${counted(groups.length, "pattern")} found, the likeliest: ${describe(attributes, description)}, ${percent(probability)}.`);
  }

  async more(record) {
    const had = this.k;
    this.k += PATTERNS;
    await this.ask(record);
    this.results.root.querySelectorAll(".row")[had]?.querySelector(".hit").focus();
  }

  async all(record, group, list, button) {
    const { box, category, filters } = this.work.now;
    button.disabled = true;
    try {
      const k = Math.min(group.size, this.gallery.limits?.k ?? 100);
      const body = { box, category, k, pattern: group.id < 0 ? null : group.id, filters };
      const { hits } = await (await this.api.ask("/api/search/instances", record, body)).json();
      this.results.fill(list, hits);
      button.remove();
      this.on.shown();
      say(`${counted(hits.length, "foreground")} of this pattern.`);
    } catch (error) {
      button.disabled = false;
      tell(error.message, { kind: "bad" });
    }
  }

  async similar(hit) {
    try {
      const { hits } = await this.api.get(`/api/foregrounds/${encodeURIComponent(hit.id)}/similar`, { k: 40 });
      this.results.showList(`More like ${hit.id}`, hits, () => (this.draw(), this.results.root.querySelector(".hit")?.focus()));
      this.results.root.querySelector(".hit")?.focus();
      this.on.shown();
      say(`${counted(hits.length, plain(hit.category))} like this one.`);
    } catch (error) {
      tell(error.message, { kind: "bad" });
    }
  }
}

const likeliest = (attributes) => Object.fromEntries(Object.entries(attributes).map(([name, said]) => [name, Object.entries(said).sort((a, b) => b[1] - a[1])[0]?.[0]]));

// What had the focus was drawn anew: its like has it.
function refocus(old) {
  const { id, name, value, dataset, type } = old;
  const isChoice = type === "radio" || type === "checkbox";
  const like =
    (id && byId(id)) ||
    (dataset.attribute && document.querySelector(`#ask [data-attribute="${CSS.escape(dataset.attribute)}"]`)) ||
    (name && document.querySelector(`#ask [name="${CSS.escape(name)}"]${isChoice ? `[value="${CSS.escape(value)}"]` : ""}`));
  (like || byId("category")).focus();
}
