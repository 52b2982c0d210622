// Attributes as switches: the quick ones turn the best pattern about, the rest lists every value with its probability.

import { bar, el } from "/page/shared/dom.js";
import { heading, opposite, percent, phrase } from "./words.js";

const without = (wanted, name) => Object.fromEntries(Object.entries(wanted).filter(([key]) => key !== name));

// values: attribute -> its values in order; said: attribute -> value -> p(value | query); best: attributes of the
// pattern that is most probable without any wish.
export function quickSwitches({ values, wanted, best, change }) {
  const switches = Object.entries(values).flatMap(([name, all]) => {
    const isWanted = name in wanted;
    const other = isWanted ? { value: wanted[name], label: quickLabel(name, wanted[name], best, all) } : opposite(name, best[name] ?? "", all);
    if (!other || (!isWanted && !best[name])) return [];
    const next = isWanted ? without(wanted, name) : { ...wanted, [name]: other.value };
    return [el("button", { class: "switch", "aria-pressed": String(isWanted), "data-attribute": name, onclick: () => change(next) }, other.label)];
  });
  return switches.length ? el("div", { class: "switches", role: "group", "aria-label": "Quick changes" }, switches) : null;
}

function quickLabel(name, value, best, all) {
  const turned = opposite(name, best[name] ?? "", all);
  return turned?.value === value ? turned.label : phrase(name, value);
}

export function allSwitches({ values, said, wanted, change }) {
  return Object.entries(values).map(([name, all]) => {
    const choice = (value, label, share) =>
      el(
        "label",
        { class: "choice" },
        el("input", { type: "radio", name: `wanted-${name}`, value, checked: (wanted[name] ?? "") === value, onchange: () => change(value ? { ...wanted, [name]: value } : without(wanted, name)) }),
        el("span", {}, label, share === undefined ? null : [el("small", {}, percent(share)), bar(share)]),
      );
    return el(
      "fieldset",
      {},
      el("legend", {}, heading(name)),
      choice("", "any"),
      all.map((value) => choice(value, phrase(name, value).replace(/^(facing|seen from|lit from the|in) /, ""), said[name]?.[value] ?? 0)),
    );
  });
}
