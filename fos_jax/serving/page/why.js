// Why a pattern or a foreground came: what the place says of each attribute, what spoke for it, what would have to differ.

import { bar, el } from "/page/shared/dom.js";
import { say } from "./notice.js";
import { thumbnail } from "./pictures.js";
import { counted, describe, heading, percent, phrase, plain, title } from "./words.js";

const MOST_MEMBERS = 12;
const capital = (text) => text.replace(/^./, (letter) => letter.toUpperCase());
const fixed = (value) => value.toFixed(2);

export class Why {
  // on: {choose({pattern})}
  constructor(root, api, on) {
    Object.assign(this, { root, api, on, asking: null, subject: null });
  }

  clear(text) {
    this.asking?.abort();
    this.root.replaceChildren(el("div", { class: "empty" }, el("p", {}, text)));
  }

  // subject: {pattern} or {foreground, pattern}; values: attribute -> its values in order
  async show(record, { box, category }, subject, values) {
    this.asking?.abort();
    const { signal } = (this.asking = new AbortController());
    this.subject = subject;
    this.root.replaceChildren(el("div", { class: "empty" }, el("p", {}, "Looking for the reasons…")));
    const pattern = subject.pattern >= 0 ? subject.pattern : null;
    const body = { box, category, foreground: subject.foreground ?? null, pattern: subject.foreground ? null : pattern };
    const [found, members] = await Promise.all([
      this.api.ask("/api/explain", record, body, { signal }).then((response) => response.json()),
      this.api.get("/api/foregrounds", { category, pattern, limit: MOST_MEMBERS }, { signal }).catch(() => null),
    ]);
    const own = found.patterns.find(({ id }) => id === pattern) ?? found.patterns[0] ?? null;
    say(found.text);
    this.root.replaceChildren(
      ...[
        this.head(own, category, subject, found, members),
        this.parts(found.parts),
        this.attributes(found, own, values),
        this.difference(found.difference),
        this.others(found.patterns, own),
        this.evidence(record, { box, category, pattern }),
      ].filter(Boolean),
    );
  }

  head(own, category, { foreground }, { text }, members) {
    const name = own ? capital(describe(own.attributes, own.description)) : title(category);
    return el(
      "section",
      {},
      el("h2", {}, name),
      foreground ? el("p", { class: "subject" }, thumbnail(foreground, false, ""), el("span", {}, foreground)) : null,
      el("p", { id: "why-text" }, text),
      members?.foregrounds.length
        ? [
            el("h3", {}, own ? `Its members: ${counted(members.total, "foreground")}` : counted(members.total, "foreground")),
            el("div", { class: "members" }, members.foregrounds.map(({ id }) => thumbnail(id, false, id))),
          ]
        : null,
    );
  }

  parts(parts) {
    const rows = Object.entries(parts ?? {});
    if (rows.length < 2) return null;
    const most = Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-9);
    return el("section", {}, el("h3", {}, "What the score is made of"), el("ul", { class: "bars" }, rows.map(([name, value]) => el("li", {}, el("span", {}, title(name)), bar(Math.max(value, 0) / most), el("b", {}, fixed(value))))));
  }

  attributes({ attributes }, own, values) {
    const names = Object.keys(attributes ?? {});
    if (!names.length) return null;
    return el(
      "section",
      { id: "why-attributes" },
      el("h3", {}, "What this place says"),
      names.map((name) => {
        const order = values[name] ?? Object.keys(attributes[name]);
        return el(
          "div",
          { class: "marginal" },
          el("h4", {}, heading(name)),
          el(
            "ul",
            { class: "bars" },
            order.map((value) => {
              const isOwn = own?.attributes[name] === value;
              const share = attributes[name][value] ?? 0;
              return el("li", { class: isOwn ? "own" : "" }, el("span", {}, phrase(name, value), isOwn ? el("span", { class: "unseen" }, ", this pattern") : null), bar(share), el("b", {}, percent(share)));
            }),
          ),
        );
      }),
    );
  }

  difference(difference) {
    if (!difference) return null;
    return el(
      "section",
      { id: "why-difference" },
      el("h3", {}, "For the next pattern to win"),
      el("p", {}, difference.text),
      difference.attributes?.length
        ? el(
            "ul",
            { class: "versus" },
            difference.attributes.map(({ name, mine, other, p_mine, p_other }) =>
              el("li", {}, el("span", {}, phrase(name, mine), el("small", {}, percent(p_mine))), el("span", { "aria-label": "against" }, "→"), el("span", {}, phrase(name, other), el("small", {}, percent(p_other)))),
            ),
          )
        : null,
    );
  }

  others(patterns, own) {
    const rest = patterns.filter(({ id }) => id !== own?.id);
    if (!rest.length) return null;
    return el(
      "section",
      {},
      el("h3", {}, "Other patterns"),
      el("ul", { class: "others" }, rest.map(({ id, attributes, description, probability }) => el("li", {}, el("button", { class: "quiet", onclick: () => this.on.choose({ pattern: id }) }, capital(describe(attributes, description)), el("small", {}, percent(probability)))))),
    );
  }

  evidence(record, asked) {
    const place = el("div", { id: "evidence" });
    const button = el("button", { id: "show-evidence", onclick: () => this.readEvidence(record, asked, place, button) }, "Show it in the photograph");
    return el("section", {}, el("h3", {}, "What in the photograph spoke for it"), el("p", { class: "note" }, "Parts of the photograph are covered one by one; this takes some seconds."), button, place);
  }

  async readEvidence(record, asked, place, button) {
    const told = "Covering the photograph part by part…";
    button.disabled = true;
    say(told);
    place.replaceChildren(el("p", { class: "note" }, told));
    try {
      const response = await this.api.ask("/api/evidence", record, { ...asked, max_side: 800 }, { signal: this.asking.signal });
      const bitmap = await createImageBitmap(await response.blob());
      const canvas = el("canvas", { role: "img", tabindex: "-1", "aria-label": `The photograph, red where it speaks for this ${plain(asked.category)}, blue where against it` });
      Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      place.replaceChildren(canvas, el("p", { class: "note" }, el("i", { class: "key for" }), "speaks for it ", el("i", { class: "key against" }), "speaks against it"));
      const had = document.activeElement === button || document.activeElement === document.body;
      button.hidden = true;
      if (had) canvas.focus({ preventScroll: true });
    } catch (error) {
      if (this.asking.signal.aborted) return;
      place.replaceChildren(el("p", { class: "note" }, error.message));
      say(error.message, "alarm");
      button.disabled = false;
    }
  }
}
