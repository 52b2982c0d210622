// Views without a grid: disagreements, agreement, history.

import { el } from "./shared/dom.js";
import { thumbnail } from "./thumbnails.js";

export const groupName = (group, facts) =>
  facts.kind === "pattern" ? facts.name || `Group ${group}` : { outliers: "Outliers", rejected: "Rejected" }[facts.kind];

export function disagreementSheet({ queue, groups }, at, choose) {
  if (!queue.length) return [el("p", { class: "empty" }, "No cut-out is in dispute.")];
  return queue.slice(0, 200).map((entry, index) => {
    const said = new Map();
    for (const [who, group] of Object.entries(entry.verdicts)) said.set(group, [...(said.get(group) || []), who]);
    return el(
      "article",
      { class: index === at ? "dispute chosen" : "dispute", "data-cutout": String(entry.cutout) },
      el("div", { class: "large" }, thumbnail(entry.cutout)),
      el(
        "div",
        { class: "sides" },
        [...said].map(([group, who], side) =>
          el(
            "button",
            { onclick: () => choose(index, group), "data-group": String(group) },
            el("kbd", {}, String.fromCharCode(97 + side)),
            el("span", { class: "cover" }, groups[group].cover.filter((c) => c !== entry.cutout).slice(0, 5).map(thumbnail)),
            el("span", {}, groupName(group, groups[group]), el("small", {}, `${who.join(", ")} ${who.length > 1 ? "say" : "says"} so`)),
          ),
        ),
      ),
    );
  });
}

const percent = (value) => (value === null ? "not defined" : value.toFixed(3));

export function agreementSheet(parts) {
  const rows = parts.flatMap(([category, pairs]) => pairs.map((pair) => [category, pair]));
  if (!rows.length) return [el("p", { class: "empty" }, "No cut-out was judged by two annotators yet.")];
  return [
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ["Category", "Annotators", "Judged by both", "Same verdict", "ARI", "Cohen's κ"].map((t) => el("th", {}, t)))),
      el(
        "tbody",
        {},
        rows.map(([category, pair]) =>
          el(
            "tr",
            { class: category === "all" ? "sum" : "" },
            [category, pair.annotators.join(" and "), String(pair.cutouts), `${(100 * pair.same).toFixed(1)} %`, percent(pair.ari), percent(pair.kappa)].map(
              (text) => el("td", {}, text),
            ),
          ),
        ),
      ),
    ),
    el(
      "p",
      { class: "note" },
      "All work on one shared grouping and see what others did: these figures say how much annotators let stand, not how well they would agree blind.",
    ),
  ];
}

export function historySheet({ actions }) {
  if (!actions.length) return [el("p", { class: "empty" }, "Nothing was done yet.")];
  const brief = (parameters) =>
    Object.entries(parameters)
      .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
      .join(" · ");
  return [
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ["", "When", "Who", "What", ""].map((t) => el("th", {}, t)))),
      el(
        "tbody",
        {},
        actions.map((entry) =>
          el(
            "tr",
            { class: entry.undone_by ? "undone" : "" },
            el("td", {}, String(entry.action)),
            el("td", {}, new Date(entry.at).toLocaleString()),
            el("td", {}, entry.annotator),
            el("td", {}, entry.undoes ? `undo of ${entry.undoes}` : entry.kind),
            el("td", {}, entry.undone_by ? `undone by ${entry.undone_by}` : brief(entry.parameters)),
          ),
        ),
      ),
    ),
  ];
}
