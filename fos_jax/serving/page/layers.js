// Kept foregrounds: their list, top one first, and the bar of the selected one.

import { el } from "/page/shared/dom.js";
import { thumbnail } from "./pictures.js";
import { describe, mirrored, plain, title } from "./words.js";

export const nameOf = (layer) => `${title(layer.category)}, ${describe(layer.attributes, layer.description || plain(layer.foreground))}`;

// Labels follow the picture: left and right change sides. The pattern of the mirrored one is known where the atlas is.
export const flipped = (layer) => ({ mirrored: !layer.mirrored, attributes: mirrored(layer.attributes) });

export function reordered(layers, key, by) {
  const at = layers.findIndex((layer) => layer.key === key);
  const to = Math.min(Math.max(at + by, 0), layers.length - 1);
  const out = [...layers];
  out.splice(to, 0, ...out.splice(at, 1));
  return out;
}

// on: {select(key), reorder(key, by), remove(key)}
export function layerList(layers, selected, on) {
  const button = (label, text, run, disabled = false) => el("button", { class: "quiet", "aria-label": label, title: label.split(":")[0], disabled, onclick: run }, text);
  return [
    el("h2", {}, "Kept"),
    el(
      "ol",
      {},
      layers
        .map((layer, index) =>
          el(
            "li",
            { class: layer.key === selected ? "layer chosen" : "layer", "data-layer": layer.key },
            el(
              "button",
              { class: "layer-name", "aria-pressed": String(layer.key === selected), onclick: () => on.select(layer.key === selected ? "" : layer.key) },
              el("span", { class: "cover" }, thumbnail(layer.foreground, layer.mirrored, "")),
              el("span", {}, nameOf(layer), el("small", {}, [layer.foreground, layer.licence, layer.mirrored && "mirrored"].filter(Boolean).join(" · "))),
            ),
            button(`Forward: ${layer.foreground}`, "↑", () => on.reorder(layer.key, 1), index === layers.length - 1),
            button(`Backward: ${layer.foreground}`, "↓", () => on.reorder(layer.key, -1), index === 0),
            button(`Remove: ${layer.foreground}`, "✕", () => on.remove(layer.key)),
          ),
        )
        .reverse(),
    ),
  ];
}

// on: {mirror(key), strength(key, name, value), remove(key), done()}
export function layerBar(layer, on) {
  const slider = (label, name) => {
    const out = el("b", { "aria-hidden": "true" }, `${Math.round(100 * layer[name])}`); // the slider itself tells its value
    const input = el("input", { type: "range", min: "0", max: "100", step: "5", name, "aria-label": label, oninput: () => ((out.textContent = input.value), on.strength(layer.key, name, Number(input.value) / 100)) });
    input.value = String(Math.round(100 * layer[name]));
    return el("label", { class: "slider" }, el("span", {}, label), input, out);
  };
  return [
    el("button", { id: "mirror", "aria-pressed": String(layer.mirrored), onclick: () => on.mirror(layer.key) }, "Mirror"),
    slider("Match colours", "harmonise"),
    slider("Shadow", "shadow"),
    el("span", { class: "space" }),
    el("button", { class: "remove", onclick: () => on.remove(layer.key) }, "Remove"),
    el("button", { class: "main", onclick: on.done }, "Done"),
  ];
}
