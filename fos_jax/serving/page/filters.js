// What may come at all: licence, resolution, shape, tags, mirrored ones.

import { el } from "/page/shared/dom.js";

// Infinity is not in JSON: the service reads "any" as no limit.
const UPSCALES = [["", "as the gallery demands"], ["1", "never"], ["1.5", "1.5 times"], ["2", "twice"], ["4", "4 times"], ["any", "any"]];
const ASPECTS = [["", "as the gallery demands"], ["1.2", "within 1.2 times"], ["1.5", "within 1.5 times"], ["2", "within twice"], ["any", "any"]];

export const countOf = (filters) => Object.keys(filters).length;

function select(label, name, options, value, change) {
  const read = (text) => (text === "" ? null : text === "any" ? "any" : Number(text));
  return el(
    "label",
    { class: "field" },
    el("span", {}, label),
    el("select", { name, onchange: (event) => change(name, read(event.target.value)) }, options.map(([key, said]) => el("option", { value: key, selected: String(value ?? "") === key }, said))),
  );
}

function checks(legend, name, all, chosen, change) {
  if (all.length < 1) return null;
  const toggled = (value, isOn) => all.filter((one) => (one === value ? isOn : chosen.includes(one)));
  return el(
    "fieldset",
    {},
    el("legend", {}, legend),
    all.map((value) =>
      el("label", { class: "choice" }, el("input", { type: "checkbox", name, value, checked: chosen.includes(value), onchange: (event) => change(name, toggled(value, event.target.checked)) }), el("span", {}, value)),
    ),
  );
}

function check(label, name, value, change) {
  return el("label", { class: "check" }, el("input", { type: "checkbox", name, checked: Boolean(value), onchange: (event) => change(name, event.target.checked || null) }), label);
}

// change(filters): those that are set.
export function filterForm({ filters, licences, tags, has_mirrored, change }) {
  const set = (name, value) => {
    const isUnset = value === null || value === 0 || (Array.isArray(value) && !value.length);
    const rest = Object.fromEntries(Object.entries(filters).filter(([key]) => key !== name));
    change(isUnset ? rest : { ...rest, [name]: value });
  };
  const side = el("input", { type: "number", name: "min_side_px", min: "0", step: "50", inputMode: "numeric", placeholder: "0", onchange: (event) => set("min_side_px", Math.max(0, Math.round(Number(event.target.value) || 0))) });
  side.value = filters.min_side_px ?? "";
  return [
    el("label", { class: "field" }, el("span", {}, "Longer side at least, px"), side),
    select("May be enlarged", "max_upscale", UPSCALES, filters.max_upscale, set),
    select("Width to height like the rectangle", "aspect_tolerance", ASPECTS, filters.aspect_tolerance, set),
    checks("Licence", "licences", licences, filters.licences ?? [], set),
    checks("With the tags", "tags", tags, filters.tags ?? [], set),
    has_mirrored ? check("Mirrored ones too", "mirror", filters.mirror, set) : null,
    check("Cut off at any side", "any_truncation", filters.any_truncation, set),
    countOf(filters) ? el("button", { class: "quiet", id: "clear-filters", onclick: () => change({}) }, "Clear the filters") : null,
  ];
}

// Everything that can refuse, opened: also what the gallery demands by itself.
export const RELAXED = { any_truncation: true, aspect_tolerance: "any", max_upscale: "any" };
